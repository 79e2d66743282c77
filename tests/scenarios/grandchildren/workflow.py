from scenario import other
from workflows import activity, gather, workflow


@activity(name="grandchildren.leaf")
async def leaf(n: int) -> int:
    return n


@workflow(name="grandchildren")
async def grandchildren(depth: int) -> int:
    if depth == 0:
        return await other(leaf).run(1)
    return sum(await gather(*(other(grandchildren).run(depth - 1) for _ in range(2))))
