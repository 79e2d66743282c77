from typing import Any

from scenario import other
from workflows import activity, heartbeat, last_heartbeat, workflow


@activity(name="heartbeats.copy", retries=1, initial=0.01)
async def copy() -> list[Any]:
    done = last_heartbeat()
    if done is None:
        heartbeat({"done": 3})
        raise ConnectionError("lost")
    return [done, last_heartbeat()]


@workflow(name="heartbeats")
async def heartbeats() -> list[Any]:
    return await other(copy).run()
