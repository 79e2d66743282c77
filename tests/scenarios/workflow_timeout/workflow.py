from scenario import other
from workflows import sleep, workflow


@workflow(name="workflow_timeout.child")
async def child() -> None:
    await sleep("1h")


@workflow(name="workflow_timeout")
async def workflow_timeout() -> None:
    await other(child).run()
