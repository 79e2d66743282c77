"""Activities side by side."""

from __future__ import annotations

from crash_functions import crash_three_at_once, crash_three_gated
from crash_stage import Stage, times


async def test_three_activities_of_a_second_take_less_than_two(stage: Stage) -> None:
    """G1."""
    await stage.start("only")
    handle = await stage.queue(crash_three_at_once)
    assert await handle.result(20) == ["a", "b", "c"]
    assert [entry["what"] for entry in stage.entries("ended")] == ["c", "b", "a"]
    assert max(times(stage.entries("ended"))) - min(times(stage.entries("began"))) < 2


async def test_killed_after_two_of_three_only_the_third_runs_again(stage: Stage) -> None:
    """G2: and the completions are replayed in their recorded order."""
    handle = await stage.queue(crash_three_gated)
    first = await stage.start("first")
    for name in "abc":
        await stage.saw("began", name)
    for name in "ca":
        stage.open(name)
        await stage.saw("applied", name)
    first.kill()
    stage.open("b")
    await stage.start("second")
    assert await handle.result(20) == [["a", "b", "c"], ["c", "a", "b"]]
    assert [stage.count("began", name) for name in "abc"] == [1, 2, 1]
    assert [stage.count("ended", name) for name in "abc"] == [1, 1, 1]
    applied = [e["what"] for e in stage.entries("applied") if e["worker"] == "second"]
    assert applied == ["c", "a", "b"]
