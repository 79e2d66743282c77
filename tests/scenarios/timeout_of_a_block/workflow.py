from scenario import gate, other
from workflows import activity, timeout, workflow


@activity(name="timeout_of_a_block.ask")
async def ask() -> str:
    await gate("never")
    return "answered"


@workflow(name="timeout_of_a_block")
async def timeout_of_a_block() -> list[str]:
    told: list[str] = []
    try:
        async with timeout(0.2):
            told.append(await other(ask).run())
    except TimeoutError:
        told.append("too late")
    return told
