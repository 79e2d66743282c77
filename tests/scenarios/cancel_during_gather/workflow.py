from scenario import gate, note, other
from workflows import activity, gather, sleep, workflow


@activity(name="cancel_during_gather.work")
async def work() -> None:
    note("begun")
    await gate("never")


@workflow(name="cancel_during_gather")
async def cancel_during_gather() -> None:
    await gather(sleep("1h"), other(work).run(), sleep("2h"))
