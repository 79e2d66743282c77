from typing import Any

from scenario import other
from workflows import ActivityError, RemoteError, activity, workflow


class OutOfFunds(Exception):
    details: dict[str, int]


@activity(name="activity_fails.charge", retries=2, initial=0.01)
async def charge(cents: int) -> None:
    error = OutOfFunds(f"no {cents} cents: \u00e4\u20ac\U0001f4b8")
    error.details = {"missing": cents}
    raise error


@workflow(name="activity_fails")
async def activity_fails() -> list[Any]:
    try:
        await other(charge).run(5)
    except ActivityError as error:
        cause = error.__cause__
        assert isinstance(cause, RemoteError)
        return [
            error.type,
            error.message,
            error.attempts,
            dict(error.details),
            "activity_fails" in error.stack,
            [cause.type, cause.message],
        ]
    return []
