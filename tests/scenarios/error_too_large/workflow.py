from typing import Any

from scenario import other
from workflows import ActivityError, activity, workflow


class Endless(Exception):
    pass


@activity(name="error_too_large.talk", retries=0)
async def talk() -> None:
    raise Endless("a" * 100_000 + "b" * 100_000)


@workflow(name="error_too_large")
async def error_too_large() -> list[Any]:
    try:
        await other(talk).run()
    except ActivityError as error:
        message = error.message
        middle = message.strip("ab").strip()
        return [error.type, len(message) < 65_536, message[:2], middle, message[-2:]]
    return []
