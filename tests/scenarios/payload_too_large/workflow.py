from typing import Any

from scenario import other
from workflows import ActivityError, activity, workflow


@activity(name="payload_too_large.talk", retries=0)
async def talk() -> str:
    return "a" * 2_000_000


@workflow(name="payload_too_large")
async def payload_too_large() -> list[Any]:
    try:
        await other(talk).run()
    except ActivityError as error:
        return [error.type, error.message, error.attempts]
    return []
