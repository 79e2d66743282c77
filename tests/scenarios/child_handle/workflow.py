from scenario import other
from workflows import wait_for_signal, workflow


@workflow(name="child_handle.child")
async def child() -> str:
    return await wait_for_signal("word", str)


@workflow(name="child_handle")
async def child_handle() -> list[str]:
    handle = await other(child).queue()
    told: list[str] = []
    try:
        await handle.result(timeout=0.1)
    except TimeoutError:
        told.append("not yet")
    await handle.signal("word", "hello")
    return [*told, await handle.result(), await handle.result()]
