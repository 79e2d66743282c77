import math
from typing import Any

from scenario import note, other
from workflows import ActivityError, PayloadError, activity, workflow


@activity(name="payload_refused.answer", retries=2, initial=0.01)
async def answer() -> Any:
    note("answered")
    return {"a": [1, math.nan]}


@activity(name="payload_refused.take")
async def take(value: Any) -> None: ...


@workflow(name="payload_refused")
async def payload_refused() -> list[Any]:
    told: list[Any] = []
    try:
        await other(answer).run()
    except ActivityError as error:
        told.append([error.type, error.message.split(":")[0], error.attempts])
    for value in (math.inf, {"a": [-math.inf]}):
        try:
            await other(take).run(value)
        except PayloadError as error:
            told.append("not sent: " + error.path[error.path.find("]") + 1 :])
    return told
