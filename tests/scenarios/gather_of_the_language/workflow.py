import asyncio

from scenario import other
from workflows import activity, workflow


@activity(name="gather_of_the_language.square")
async def square(n: int) -> int:
    return n * n


@workflow(name="gather_of_the_language")
async def gather_of_the_language() -> list[int]:
    return list(await asyncio.gather(*(other(square).run(n) for n in range(3))))
