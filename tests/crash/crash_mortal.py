"""Durable functions that take their worker with them, each at a certain place and once."""

from __future__ import annotations

import asyncio
from typing import Any

from crash_journal import blocking_gate, die_once, gate, note
from workflows import activity, gather, heartbeat, last_heartbeat, sleep, step, workflow

# --- compensations ------------------------------------------------------------------------


@activity(retries=0)
async def mortal_deed(name: str) -> None:
    note("did", name)


@activity(retries=0)
async def mortal_undo(name: str) -> None:
    note("undid", name)


@workflow
async def mortal_saga() -> None:
    """Undo in reverse what was done, and die after the first of it was recorded."""
    done: list[str] = []
    try:
        for name in ("flight", "hotel", "car"):
            await mortal_deed.run(name)
            done.append(name)
        note("waits", "saga")
        await sleep("1h")
    except asyncio.CancelledError:
        for name in reversed(done):
            await mortal_undo.run(name)
            die_once("in the clean-up")
        raise


# --- steps --------------------------------------------------------------------------------


@step(retries=0)
async def mortal_step(name: str) -> str:
    """Die at the end of the body, before anybody could record it."""
    note("began", name)
    if name == "mortal":
        die_once("in a step")
    return name


@workflow
async def mortal_steps() -> list[str]:
    got = [await mortal_step.run("first")]
    die_once("after a step was recorded")
    got.append(await mortal_step.run("mortal"))
    return [*got, await mortal_step.run("last")]


@step(retries=0)
async def mortal_beside(name: str) -> str:
    note("began", name)
    if name == "slow":
        await gate("slow")
        die_once("beside")
    return name


@workflow
async def mortal_side_by_side() -> list[str]:
    return await gather(*(mortal_beside.run(name) for name in ("one", "slow", "other")))


# --- progress -----------------------------------------------------------------------------


@activity(retries=0)
async def mortal_counts(most: int) -> list[int]:
    """Go on where the last attempt was; half-way wait to be killed."""
    begun: int = last_heartbeat(int) or 0
    note("began", f"at {begun}")
    for n in range(begun, most):
        note("counted", str(n))
        heartbeat(n + 1)
        if n + 1 == most // 2:
            await gate("go")
    return [begun, most]


@activity(retries=0)
def mortal_counts_in_a_thread(most: int) -> list[int]:
    begun: int = last_heartbeat(int) or 0
    note("began", f"at {begun}")
    for n in range(begun, most):
        note("counted", str(n))
        heartbeat(n + 1)
        if n + 1 == most // 2:
            blocking_gate("go")
    return [begun, most]


@workflow
async def mortal_progress(in_a_thread: bool) -> Any:
    return await (mortal_counts_in_a_thread if in_a_thread else mortal_counts).run(10)
