from typing import Any

from scenario import note, other
from workflows import ActivityError, NonRetryableError, activity, workflow


class BadCard(Exception):
    pass


class Declined(NonRetryableError):
    pass


@activity(name="not_retried.charge", retries=5, initial=0.01, non_retryable=[BadCard])
async def charge(card: str) -> None:
    note(card)
    if card == "bad":
        raise BadCard(card)
    raise Declined(card)


@workflow(name="not_retried")
async def not_retried() -> list[Any]:
    told: list[Any] = []
    for card in ("bad", "empty"):
        try:
            await other(charge).run(card)
        except ActivityError as error:
            told.append([error.type, error.message, error.attempts])
    return told
