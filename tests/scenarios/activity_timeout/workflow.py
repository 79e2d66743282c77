from typing import Any

from scenario import gate, other
from workflows import ActivityTimeout, activity, workflow


@activity(name="activity_timeout.hang", timeout=0.1, retries=1, initial=0.01)
async def hang() -> None:
    await gate("never")


@workflow(name="activity_timeout")
async def activity_timeout() -> list[Any]:
    try:
        await other(hang).run()
    except ActivityTimeout as error:
        return [error.type, error.attempts]
    return []
