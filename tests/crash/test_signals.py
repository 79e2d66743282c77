"""Signals reach the waits that they are meant for, whoever dies in between."""

from __future__ import annotations

import asyncio

from crash_functions import crash_b_before_a, crash_one_signal, crash_three_signals
from crash_stage import Stage


async def test_a_signal_sent_before_the_start_is_taken_by_the_first_wait(stage: Stage) -> None:
    """S1."""
    handle = await stage.queue(crash_one_signal)
    assert (await handle.signal("go", {"n": 1}))["delivered"]
    stage.spawn("only")
    assert await handle.result(20) == {"n": 1}


async def test_a_signal_at_the_moment_of_the_suspend_never_leaves_a_workflow_hanging(
    stage: Stage,
) -> None:
    """S2: 200 races, on two workers."""
    await asyncio.gather(stage.start("one", concurrency=4), stage.start("two", concurrency=4))

    async def race(n: int) -> int:
        handle = await stage.queue(crash_one_signal)
        # About as long as the workflow takes to its wait, a little more each time.
        await asyncio.sleep(n % 40 / 2000)
        await handle.signal("go", n)
        return await handle.result(20)

    for start in range(0, 200, 20):
        batch = range(start, start + 20)
        assert await asyncio.gather(*(race(n) for n in batch)) == list(batch)


async def test_three_signals_come_in_order_and_the_same_after_a_kill(stage: Stage) -> None:
    """S3."""
    handle = await stage.queue(crash_three_signals)
    first = await stage.start("first")
    await handle.signal("go", "a")
    await handle.signal("go", "b")
    await stage.saw("got", "b")
    await stage.is_in(handle, "suspended")
    first.kill()
    await handle.signal("go", "c")
    await stage.start("second")
    assert await handle.result(20) == ["a", "b", "c"]
    assert got_by(stage, "second") == ["a", "b", "c"]
    assert got_by(stage, "first") == ["a", "b"]
    assert (await stage.types(handle)).count("signal_received") == 3


def got_by(stage: Stage, worker: str) -> list[str]:
    """What the code got, in order; a replay in the same worker gets it again."""
    return list(dict.fromkeys(e["what"] for e in stage.entries("got") if e["worker"] == worker))


async def test_waiting_for_b_first_leaves_a_for_later(stage: Stage) -> None:
    """S4: also when the worker dies between the two."""
    handle = await stage.queue(crash_b_before_a)
    first = await stage.start("first")
    await handle.signal("a", "the a")
    await stage.is_in(handle, "suspended")
    assert stage.entries("got") == []
    first.kill()
    await handle.signal("b", "the b")
    await stage.start("second")
    assert await handle.result(20) == ["the b", "the a"]
