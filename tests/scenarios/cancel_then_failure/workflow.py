import asyncio

from workflows import sleep, workflow


class CannotUndo(Exception):
    pass


@workflow(name="cancel_then_failure")
async def cancel_then_failure() -> None:
    try:
        await sleep("1h")
    except asyncio.CancelledError:
        raise CannotUndo("it is too late") from None
