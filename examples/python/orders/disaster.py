"""A worker is killed at the worst moment, and somebody looks at the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import outside
from shop import WorkerProcess
from workflows import Client

_LOOK = 0.02  # seconds


@dataclass(frozen=True)
class Recovery:
    """What became of the executions that the dead worker held."""

    activities: int
    workflows: int
    seconds: float
    """From the kill until another worker had claimed the last of them."""


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
    left = [each["id"] for each in held]
    while left:
        await asyncio.sleep(_LOOK)
        left = [id for id in left if await _is_held_by(client, id, worker_id)]
    seconds = time.monotonic() - killed
    told(f"{seconds:.1f} s later the last of them is in the hands of another worker")
    activities = sum(each["kind"] == "activity" for each in held)
    return Recovery(activities, len(held) - activities, seconds)


async def _worker_id(client: Client, worker: WorkerProcess) -> str:
    """Answers the id under which a process works; by default it is named for the process."""
    workers = (await client.stats())["workers"]
    return next(each["id"] for each in workers if each["name"].endswith(f":{worker.pid}"))


def _money_has_gone(worker: WorkerProcess) -> bool:
    """Whether the last thing that the bank did, it did for this worker."""
    entries = outside.bank.entries()
    return entries[-1]["pid"] == worker.pid and entries[-1]["what"] == "payment"


async def _is_held_by(client: Client, id: str, worker_id: str) -> bool:
    """Whether an execution is in a worker's hands, or was and nobody has claimed it yet."""
    execution = await client.get(id)
    return execution.get("worker") == worker_id and execution["status"] in ("running", "pending")
