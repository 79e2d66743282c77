import asyncio

from workflows import sleep, workflow


@workflow(name="cancel_swallowed")
async def cancel_swallowed() -> str:
    try:
        await sleep("1h")
    except asyncio.CancelledError:
        await sleep(0)
    return "as if nothing had been"
