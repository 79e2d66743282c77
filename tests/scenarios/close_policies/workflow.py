from scenario import other
from workflows import wait_for_signal, workflow


@workflow(name="close_policies.child")
async def child() -> str:
    return await wait_for_signal("word", str)


@workflow(name="close_policies.detached")
async def detached() -> str:
    return await wait_for_signal("word", str)


@workflow(name="close_policies")
async def close_policies() -> str:
    await other(child).queue()
    await other(detached).options(close_policy="detach").queue()
    return await wait_for_signal("end", str)
