import asyncio

from workflows import race, sleep, wait_for_signal, workflow


@workflow(name="cancel_in_a_race")
async def cancel_in_a_race() -> None:
    try:
        await race(a=sleep("1h"), b=wait_for_signal("word", timeout="2h"))
    except asyncio.CancelledError:
        await sleep(0)
        raise
