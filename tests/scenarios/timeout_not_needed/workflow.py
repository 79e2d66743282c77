from scenario import other
from workflows import activity, timeout, workflow


@activity(name="timeout_not_needed.ask")
async def ask() -> str:
    return "answered"


@workflow(name="timeout_not_needed")
async def timeout_not_needed() -> str:
    async with timeout("1h"):
        answer = await other(ask).run()
    return f"{answer}, and again: {await other(ask).run()}"
