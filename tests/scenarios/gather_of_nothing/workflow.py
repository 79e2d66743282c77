from typing import Any

from workflows import gather, sleep, workflow


@workflow(name="gather_of_nothing")
async def gather_of_nothing() -> list[Any]:
    nothing: list[Any] = await gather()
    await sleep(0)
    return [nothing]
