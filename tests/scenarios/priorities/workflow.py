from scenario import other
from workflows import activity, gather, workflow


@activity(name="priorities.urgent", priority=9)
async def urgent() -> None: ...


@activity(name="priorities.usual")
async def usual() -> None: ...


@workflow(name="priorities.later", priority=1)
async def later() -> None: ...


@workflow(name="priorities")
async def priorities() -> None:
    await gather(other(urgent).run(), other(usual).run())
    await other(later).run()
    await other(usual).options(priority=0).run()
