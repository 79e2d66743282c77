from typing import Any

from scenario import note, other
from workflows import ActivityError, activity, workflow


class Busy(Exception):
    pass


@activity(name="retries_used_up.ask", initial=0.01)
async def ask(who: str) -> None:
    note(who)
    raise Busy(who)


@workflow(name="retries_used_up")
async def retries_used_up() -> list[Any]:
    told: list[Any] = []
    for retries in (0, 2):
        try:
            await other(ask).options(retries=retries).run(f"retries={retries}")
        except ActivityError as error:
            told.append([error.type, error.message, error.attempts])
    return told
