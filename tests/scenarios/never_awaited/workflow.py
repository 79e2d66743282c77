from scenario import gate, other
from workflows import activity, wait_for_signal, workflow


@activity(name="never_awaited.work")
async def work() -> str:
    await gate("never")
    return "done"


@activity(name="never_awaited.detached")
async def detached() -> str:
    await gate("late")
    return "done"


@workflow(name="never_awaited")
async def never_awaited() -> str:
    _ = other(work).run()
    _ = other(detached).options(close_policy="detach").run()
    return await wait_for_signal("end", str)
