"""A worker is killed at the worst moment, and somebody looks at the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import outside
from shop import WorkerProcess
from workflows import Client

_LOOK = 0.02  # seconds


@dataclass(frozen=True)
class Recovery:
    """What became of the executions that the dead worker held."""

    who: str
    activities: int
    workflows: int
    noticed: float
    """Seconds from the kill until the last of them was taken from the dead worker."""
    resumed: float
    """Seconds from the kill until the last of them was in the hands of another one."""


async def strike(client: Client, victim: WorkerProcess, told: Callable[[str], None]) -> Recovery:
    """Kills a worker just after the bank took money for it, and waits until all goes on."""
    worker_id = await _worker_id(client, victim)
    while not _money_has_gone(victim):  # noqa: ASYNC110  # nobody tells when a file grows
        await asyncio.sleep(_LOOK / 4)
    victim.kill()
    killed = time.monotonic()
    running = (await client.list(status="running", limit=1000))["executions"]
    held = [each for each in running if each.get("worker") == worker_id]
    told(f"kill -9 {victim.pid}: {victim.name} is dead, {len(held)} executions in its hands")
    activities = sum(each["kind"] == "activity" for each in held)
    ids = [each["id"] for each in held]
    noticed = await _until_none(client, ids, worker_id, {"running"}) - killed
    resumed = await _until_none(client, ids, worker_id, {"running", "pending"}) - killed
    told(f"the last of them goes on in another worker, {resumed:.1f} s later")
    return Recovery(victim.name, activities, len(held) - activities, noticed, resumed)


async def _worker_id(client: Client, worker: WorkerProcess) -> str:
    """Answers the id under which a process works; by default it is named for the process."""
    workers = (await client.stats())["workers"]
    return next(each["id"] for each in workers if each["name"].endswith(f":{worker.pid}"))


def _money_has_gone(worker: WorkerProcess) -> bool:
    """Whether the last thing that the bank did, it did for this worker."""
    entries = outside.bank.entries()
    return entries[-1]["pid"] == worker.pid and entries[-1]["what"] == "payment"


async def _until_none(
    client: Client, ids: Sequence[str], worker_id: str, statuses: set[str]
) -> float:
    """Waits until no execution has one of these states with this worker as its last; tells when."""
    left = list(ids)
    while left:
        await asyncio.sleep(_LOOK)
        found = [await client.get(id) for id in left]
        left = [
            each["id"]
            for each in found
            if each["status"] in statuses and each.get("worker") == worker_id
        ]
    return time.monotonic()
