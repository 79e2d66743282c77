from typing import Any

from scenario import note, other
from workflows import ChildCancelled, activity, sleep, wait_for_signal, workflow


@activity(name="child_cancelled_by_parent.undo")
async def undo() -> None:
    note("undone")


@workflow(name="child_cancelled_by_parent.child")
async def child() -> None:
    try:
        await sleep("1h")
    finally:
        await other(undo).run()


@workflow(name="child_cancelled_by_parent")
async def child_cancelled_by_parent() -> list[Any]:
    handle = await other(child).queue()
    await wait_for_signal("enough")
    told: list[Any] = [dict(await handle.cancel()), dict(await handle.cancel())]
    try:
        await handle.result()
    except ChildCancelled as error:
        told.append(error.message)
    return [*told, await wait_for_signal("word", str)]
