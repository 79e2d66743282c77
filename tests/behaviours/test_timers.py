"""Sleeps without a worker dying under them; tests/crash has those with one."""

from __future__ import annotations

from datetime import datetime

from crash_stage import PATIENCE, Stage, code
from workflows import sleep, workflow


async def test_a_sleep_of_nothing_or_less_is_immediate_and_recorded(stage: Stage) -> None:
    """O2."""
    durations = [0, -1, -0.5, "0s", -3600]
    with code() as functions:

        @workflow
        async def sleeps() -> int:
            for duration in durations:
                await sleep(duration)
            return len(durations)

    # Longer than the test may take: what is immediate waits for no poll.
    async with stage.serving(functions, poll_interval=600):
        handle = await stage.queue(sleeps)
        assert await handle.result(PATIENCE) == 5
    history = await stage.client.history(handle.id)
    told = [(event["type"], event.get("sequence")) for event in history]
    assert told[1:] == [
        (type, n) for n in (1, 2, 3, 4, 5) for type in ("timer_started", "timer_fired")
    ]


async def test_a_sleep_lasts_as_long_as_it_says_and_wakes_once(stage: Stage) -> None:
    """O1: by the database's clock, also when two sleeps overlap."""
    with code() as functions:

        @workflow
        async def sleeps(duration: float) -> None:
            await sleep(duration)

    async with stage.serving(functions, warm=0):
        handles = {duration: await stage.queue(sleeps, duration) for duration in (0.3, 0.7, 1.1)}
        for duration, handle in handles.items():
            await handle.result(PATIENCE)
            events = {e["type"]: e["at"] for e in await stage.client.history(handle.id)}
            slept = instant(events["timer_fired"]) - instant(events["timer_started"])
            assert slept.total_seconds() >= duration
            assert (await stage.types(handle)).count("timer_fired") == 1


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
