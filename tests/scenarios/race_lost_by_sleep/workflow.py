from typing import Any

from scenario import other
from workflows import activity, race, sleep, workflow


@activity(name="race_lost_by_sleep.ask")
async def ask() -> str:
    return "answered"


@workflow(name="race_lost_by_sleep")
async def race_lost_by_sleep() -> list[Any]:
    return list(await race(answer=other(ask).run(), late=sleep("1h")))
