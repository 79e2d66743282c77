from typing import Any

from scenario import gate, note, other
from workflows import activity, race, sleep, wait_for_signal, workflow


@activity(name="race_lost_by_activity.ask")
async def ask() -> str:
    note("asked")
    await gate("never")
    return "answered"


@workflow(name="race_lost_by_activity")
async def race_lost_by_activity() -> list[Any]:
    name, value = await race(answer=other(ask).run(), signal=wait_for_signal("enough", str))
    await sleep(0)
    return [name, value]
