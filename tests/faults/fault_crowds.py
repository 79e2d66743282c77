"""Crowds of bodies in one process, and fleets that are replaced by newer ones."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from fault_clients import within
from fault_journal import entries
from fault_server import SCHEMA

if TYPE_CHECKING:
    from fault_world import World

# --- a rolling deploy ------------------------------------------------------------------------


async def deploy(world: World) -> None:
    """Have all workers of yesterday leave, one after the other; today's have every function."""
    world.fleet.give({})
    old = list(world.fleet.members)
    for member in old:
        await asyncio.sleep(world.duration / (len(old) + 1))
        world.fleet.retire(member)
    await asyncio.sleep(world.duration / (len(old) + 1))
    if not await within(60, lambda: _all_ended(world)):
        world.wrong.append(f"what had been put back did not end: {await world.left()}")
    put_back, most, attempts, failures = (await _rows(world, _PUT_BACK)).split("|")
    world.figures |= {
        "put_back": int(put_back),
        "put_back_of_one_max": int(most),
        "put_back_attempts_max": int(attempts),
        "failures_beyond_the_bodies": int(failures),
    }
    # One for each function that one lacks: it says so with its next claim, and is handed no more.
    if int(put_back) < len(old):
        world.wrong.append(f"{len(old)} workers lacked functions, and put back {put_back}")


async def _all_ended(world: World) -> bool:
    """Say whether nothing is left that began before now: the load goes on."""
    query = (
        f"SELECT count(*) FROM {SCHEMA}.executions"
        " WHERE finished_at IS NULL AND releases > 0 AND created_at < now() - interval '5 s'"
    )
    return (await _rows(world, query)).strip() == "0"


# A body that fails on purpose does so once, and the doomed twice: it is the put back that must not
# count, neither as an attempt nor as a failure.
_PUT_BACK = f"""
SELECT count(*), coalesce(max(n), 0), coalesce(max(attempts), 0),
    coalesce(sum((failures > CASE WHEN name = 'fault.doomed' THEN 2 ELSE 1 END)::int), 0)
FROM (
    SELECT x, count(*) AS n FROM {SCHEMA}.audit
    WHERE tab = 'executions' AND old_status = 'running' AND new_status = 'scheduled'
        AND statement = 'release' GROUP BY x
) lacked JOIN {SCHEMA}.executions e ON e.id = lacked.x
"""

# --- a thousand at once ----------------------------------------------------------------------


async def crowd(world: World) -> None:
    """See what the processes take while as many bodies run in them as may."""
    peak: dict[str, int] = defaultdict(int)
    began = asyncio.get_running_loop().time()
    while True:
        for member in world.fleet.members:
            for name, value in _memory(member.process.process.pid).items():
                peak[name] = max(peak[name], value)
        await asyncio.sleep(0.25)
        patience = asyncio.get_running_loop().time() - began
        if patience > 5 and (patience > 80 or not (await world.left()).strip()):
            break
    journals = sorted(world.directory.glob("worker-*.jsonl"))
    at_once = {path.stem: _at_once(path, steps=False) for path in journals}
    world.figures |= {
        "rss_mb_max": peak["VmRSS"] // 1024,
        "threads_max": peak["Threads"],
        "bodies_at_once_max": max(at_once.values(), default=0),
        "steps_at_once_max": max((_at_once(path, steps=True) for path in journals), default=0),
    }
    if (least := min(at_once.values(), default=0)) < 800:
        world.wrong.append(f"some worker had {least} bodies at once only: {at_once}")


def _memory(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) for name in ("VmRSS", "Threads") if name in found}


def _at_once(journal: Path, *, steps: bool) -> int:
    """Answer how many bodies ran in a process at the same time, at most.

    A step has no slot of its own: it runs in that of its workflow.
    """
    running, most = 0, 0
    for entry in entries(journal):
        change = {"begin": 1, "end": -1}.get(entry["t"], 0)
        if change and (entry["seq"] is not None) == steps:
            running += change
            most = max(most, running)
    return most


async def _rows(world: World, query: str) -> str:
    return await asyncio.to_thread(world.server.query, query, "faults")
