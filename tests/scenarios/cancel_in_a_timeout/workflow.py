import asyncio

from workflows import sleep, timeout, workflow


@workflow(name="cancel_in_a_timeout")
async def cancel_in_a_timeout() -> str:
    try:
        async with timeout("1h"):
            await sleep("2h")
    except TimeoutError:
        return "never"
    except asyncio.CancelledError:
        await sleep(0)
        raise
    return "never"
