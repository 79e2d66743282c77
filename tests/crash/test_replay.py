"""Workflows whose workers are killed go on from their history."""

from __future__ import annotations

import signal

from crash_functions import (
    crash_after_each,
    crash_chances,
    crash_guarded,
    crash_long,
)
from crash_stage import Stage


async def test_killed_after_each_of_five_activities_every_body_ran_once(stage: Stage) -> None:
    """R1."""
    handle = await stage.queue(crash_after_each)
    for death in range(5):
        worker = stage.spawn(f"mortal {death}")
        assert await stage.exits(worker) == -signal.SIGKILL, worker.output
    stage.spawn("last")
    assert await handle.result(20) == [0, 1, 4, 9, 16]
    for n in range(5):
        assert stage.count("began", f"square {n}") == 1
        assert stage.count("ended", f"square {n}") == 1
    types = await stage.types(handle)
    assert types.count("activity_scheduled") == types.count("activity_completed") == 5


async def test_time_and_chance_are_the_same_on_every_replay(stage: Stage) -> None:
    """R9."""
    handle = await stage.queue(crash_chances)
    first = await stage.start("first")
    await stage.saw("drew", "second")
    await stage.is_in(handle, "suspended")
    first.kill()
    await stage.start("second", warm=0)
    await handle.signal("go")
    result = await handle.result(20)

    drawn = stage.entries("drew")
    assert len(drawn) > 6, "nothing was replayed"
    assert {entry["worker"] for entry in drawn} == {"first", "second"}
    for at, what in enumerate(("first", "second", "third", "fourth")):
        assert [e["values"] for e in drawn if e["what"] == what] == [result[at]] * sum(
            e["what"] == what for e in drawn
        )
    assert len({chance for draw in result for chance in draw[1:]}) == 4 * len(result)
    assert [draw[0] for draw in result] == sorted(draw[0] for draw in result)


async def test_suspending_never_runs_except_or_finally(stage: Stage) -> None:
    """R10: in memory, discarded at each suspension, and at the end of a process."""
    handle = await stage.queue(crash_guarded)
    cold = await stage.start("cold", warm=0)
    await stage.saw("began", "guarded", by="cold")
    await stage.is_in(handle, "suspended")
    cold.send(signal.SIGTERM)
    assert await stage.exits(cold) == 0, cold.output
    assert stage.entries("ran") == []

    warm = await stage.start("warm", warm=100)
    await handle.signal("first")
    await stage.saw("ran", "finally of first", by="warm")
    await stage.is_in(handle, "suspended")
    warm.send(signal.SIGTERM)
    assert await stage.exits(warm) == 0, warm.output
    ran = [entry["what"] for entry in stage.entries("ran")]
    assert ran == ["finally of first", "finally of manager first"]

    # Each replay runs what has ended, and nothing else.
    stage.open("go")
    await stage.start("last", "default", "elsewhere", warm=100)
    await handle.signal("second")
    assert await handle.result(20) == "done"
    ran = [entry["what"] for entry in stage.entries("ran") if entry["worker"] == "last"]
    assert sorted(ran) == sorted(
        ["finally of root"]
        + [f"finally of {what}" for what in ("first", "second", "activity")]
        + [f"finally of manager {what}" for what in ("first", "second", "activity")]
    )
    assert not [entry for entry in stage.entries("ran") if "except" in entry["what"]]


async def test_replaying_never_counts_as_an_attempt(stage: Stage) -> None:
    """T1: 60 activities without retries, replayed at each step, killed in the middle."""
    handle = await stage.queue(crash_long)
    assert await stage.exits(stage.spawn("mortal", warm=0)) == -signal.SIGKILL
    stage.spawn("last", warm=0)
    assert await handle.result(30) == sum(n * n for n in range(60))
    assert [stage.count("began", f"square {n}") for n in range(60)] == [1] * 60
    assert stage.count("ended", "long") == 1
    row = await stage.get(handle)
    assert (row["failures"], row["attempts"]) == (0, 1)
    children = (await stage.client.list(parent_id=handle.id, limit=100))["executions"]
    assert [child["attempts"] for child in children] == [1] * 60
