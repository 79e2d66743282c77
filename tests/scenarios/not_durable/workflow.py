import asyncio

from workflows import sleep, workflow


@workflow(name="not_durable")
async def not_durable() -> None:
    await sleep(0)
    await asyncio.get_running_loop().create_future()
