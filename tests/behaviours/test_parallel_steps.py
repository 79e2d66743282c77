"""Steps at once: beside each other and beside activities, live and on replay."""

from __future__ import annotations

import asyncio
import threading

import pytest
from crash_here import Here
from crash_stage import PATIENCE
from workflows import (
    StepError,
    activity,
    gather,
    step,
    workflow,
)


@pytest.fixture(params=[2000, 0], ids=["warm", "cold"])
def warm(request: pytest.FixtureRequest) -> int:
    """Whether suspended workflows stay in memory, or each wake-up is a replay."""
    return request.param


async def test_steps_run_beside_each_other_and_beside_activities(here: Here) -> None:
    """None of them ends before all have begun."""
    everybody = asyncio.Barrier(4)

    @step
    async def one(name: str) -> str:
        await everybody.wait()
        return name

    @activity
    async def other(name: str) -> str:
        await everybody.wait()
        return name

    @workflow
    async def beside() -> list[str]:
        return list(await gather(one.run("a"), other.run("b"), one.run("c"), one.run("d")))

    await here.work()
    handle = await here.queue(beside)
    assert await handle.result(PATIENCE) == ["a", "b", "c", "d"]
    types = await here.stage.types(handle)
    assert (types.count("step_completed"), types.count("activity_completed")) == (3, 1)


async def test_sync_steps_run_beside_each_other_too(here: Here) -> None:
    everybody = threading.Barrier(3, timeout=PATIENCE)

    @step
    def one(n: int) -> int:
        everybody.wait()
        return n

    @workflow
    async def beside() -> list[int]:
        return await gather(*(one.run(n) for n in range(3)))

    await here.work()
    assert await here.result(beside) == [0, 1, 2]


async def test_the_failure_of_a_step_surfaces_while_another_goes_on(here: Here, warm: int) -> None:
    """G3: and the other's result is there for whoever waits for it."""
    go = asyncio.Event()

    @step(retries=0)
    async def fails() -> None:
        raise ValueError("no")

    @step
    async def gated() -> str:
        await go.wait()
        return "done"

    @workflow
    async def beside() -> list[str]:
        slow = gated.run()
        try:
            await gather(slow, fails.run())
        except StepError as error:
            go.set()
            return [str(error), await slow]
        return []

    await here.work(warm=warm)
    assert await here.result(beside) == ["ValueError: no", "done"]
