from scenario import other
from workflows import activity, gather, workflow


@activity(name="gather_of_many.square")
async def square(n: int) -> int:
    return n * n


@workflow(name="gather_of_many")
async def gather_of_many() -> int:
    return sum(await gather(*(other(square).run(n) for n in range(20))))
