from scenario import gate, note, other
from workflows import activity, wait_for_signal, workflow


@activity(name="cancel_reaches_all_below.leaf")
async def leaf() -> None:
    note("the leaf has begun")
    await gate("never")


@workflow(name="cancel_reaches_all_below.child")
async def child() -> None:
    await other(leaf).run()


@workflow(name="cancel_reaches_all_below.detached")
async def detached() -> str:
    return await wait_for_signal("word", str)


@workflow(name="cancel_reaches_all_below")
async def cancel_reaches_all_below() -> None:
    await other(detached).options(close_policy="detach").queue()
    await other(child).run()
