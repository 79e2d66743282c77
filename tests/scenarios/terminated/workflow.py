from scenario import note, other
from workflows import activity, sleep, workflow


@activity(name="terminated.undo")
async def undo() -> None:
    note("undone")


@workflow(name="terminated")
async def terminated() -> None:
    try:
        await sleep("1h")
    finally:
        await other(undo).run()
