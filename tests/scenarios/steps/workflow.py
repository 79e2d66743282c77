from typing import Any

from scenario import gate, note, other
from workflows import StepError, activity, gather, step, workflow


class Full(Exception):
    pass


@activity(name="steps.slow")
async def slow() -> str:
    await gate("slow")
    return "slow"


@step(name="steps.quick", retries=2, initial=0.01)
async def quick() -> str:
    if note("quick") < 2:
        raise Full("try again")
    return "quick"


@step(name="steps.broken", retries=1, initial=0.01)
async def broken() -> None:
    note("broken")
    raise Full("for good")


@workflow(name="steps")
async def steps() -> list[Any]:
    both = await gather(other(slow).run(), quick.run())
    try:
        await broken.run()
    except StepError as error:
        return [*both, error.type, error.message, error.attempts]
    return []
