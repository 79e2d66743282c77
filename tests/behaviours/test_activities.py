"""Activities and their workflows: ends in the same instant, ends that nobody awaits, no code."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from crash_stage import PATIENCE, Stage, code
from workflows import (
    ExecutionCancelled,
    Function,
    Handle,
    activity,
    job,
    wait_for_signal,
    workflow,
)
from workflows._operations import Execution
from workflows._registry import Registry


async def test_activities_that_complete_in_the_same_instant_are_both_in_history(
    stage: Stage,
) -> None:
    """R15: 200 loops on two workers, each with an engine and connections of its own."""
    barriers = [asyncio.Barrier(2) for _ in range(200)]
    with code() as functions:

        @activity(queue="one", retries=0)
        async def one(n: int) -> int:
            await barriers[n].wait()
            return n

        @activity(queue="two", retries=0)
        async def two(n: int) -> int:
            await barriers[n].wait()
            return -n

        @workflow
        async def both(n: int) -> list[int]:
            calls = one.run(n), two.run(n)
            return [await each for each in calls]

    async with (
        stage.serving(functions, "default", "one", concurrency=40),
        stage.serving(functions, "two", concurrency=20),
    ):
        for start in range(0, 200, 20):
            loops = range(start, start + 20)
            handles = [await stage.queue(both, n) for n in loops]
            results = await asyncio.gather(*(each.result(PATIENCE) for each in handles))
            assert results == [[n, -n] for n in loops]
            for handle in handles:
                types = await stage.types(handle)
                assert types.count("activity_completed") == 2
                assert types[:3] == ["started", "activity_scheduled", "activity_scheduled"]


async def test_an_activity_that_is_never_awaited_does_not_keep_the_workflow(stage: Stage) -> None:
    """R16: the end of the workflow cancels it, unless it was detached."""
    go, told = asyncio.Event(), list[str]()
    with code() as functions:

        @activity(retries=0)
        async def runs() -> None:
            told.append("began")
            try:
                await go.wait()
            except asyncio.CancelledError:
                told.append("cancelled")
                raise

        @activity(retries=0, queue="nobody's")
        async def waits() -> None: ...

        @activity(retries=0, close_policy="detach")
        async def detached() -> str:
            await go.wait()
            return "done"

        @workflow
        async def forgets() -> str:
            _ = runs.run(), waits.run(), detached.run()
            await wait_for_signal("go")
            return "done"

    async with stage.serving(functions, heartbeat_interval=0.2):
        handle = await stage.queue(forgets)
        await stage.until(lambda: told == ["began"], "the activity to begin")
        await handle.signal("go")
        assert await handle.result(PATIENCE) == "done"
        children = (await stage.client.list(parent_id=handle.id))["executions"]
        started = {each["name"].rpartition(".")[2]: each for each in children}
        for name in ("runs", "waits"):
            with pytest.raises(ExecutionCancelled):
                await Handle[Any](started[name]["id"], client=stage.client).result(PATIENCE)
        await stage.until(lambda: told == ["began", "cancelled"], "the body to be told")
        go.set()
        survivor = Handle[Any](started["detached"]["id"], client=stage.client)
        assert await survivor.result(PATIENCE) == "done"


async def test_what_no_worker_has_the_function_of_goes_back_and_waits_longer_each_time(
    stage: Stage,
) -> None:
    """R17: no attempt is burnt, and a worker that has the function runs it."""

    async def unknown() -> str:
        return "done"

    with code() as functions:
        decorators: list[Any] = [job, activity, workflow]
        unknowns: list[Function[[], str]] = [each(retries=0)(unknown) for each in decorators]

    async with stage.serving(Registry()):
        handles = [await stage.queue(each) for each in unknowns]
        first = await asyncio.gather(*(put_back(stage, handle, 1) for handle in handles))
    # Who put one back is handed no more of them; another worker has yet to find out.
    async with stage.serving(Registry()):
        second = await asyncio.gather(*(put_back(stage, handle, 2) for handle in handles))
    for once, twice in zip(first, second, strict=True):
        # Half a second, then a whole one, each up to a tenth less.
        assert waits(once["created_at"], once["run_at"]) >= 0.45
        assert waits(once["run_at"], twice["run_at"]) >= 0.9
        assert (twice["failures"], twice["crashes"]) == (0, 0)
    assert [each["attempts"] for each in second] == [0, 0, 1], "a workflow counts its claims as one"

    async with stage.serving(functions):
        for handle in handles:
            assert await handle.result(PATIENCE) == "done"
            row = await stage.get(handle)
            assert (row["attempts"], row["failures"]) == (1, 0)


async def put_back(stage: Stage, handle: Handle[Any], releases: int) -> Execution:
    """Wait until an execution was put back so often, and waits for its time."""

    async def rests() -> bool:
        row = await stage.get(handle)
        return row["releases"] == releases and row["status"] == "scheduled"

    await stage.becomes(rests, True)
    return await stage.get(handle)


def waits(since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
