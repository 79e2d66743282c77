"""Deadlines: of an attempt, until the first start, and of a whole execution."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
import workflows
from crash_here import Here
from crash_stage import MARGIN, PATIENCE
from workflows import (
    ActivityError,
    ActivityTimeout,
    ExecutionFailed,
    StepError,
    activity,
    attempt_info,
    cancelled,
    gather,
    job,
    sleep,
    step,
    workflow,
)

# --- of an attempt --------------------------------------------------------------------------


async def test_an_attempt_that_takes_too_long_is_cancelled_and_tried_again(here: Here) -> None:
    """T12: an async body; it may clean up, and its attempt counts as a failure."""
    cleaned: list[int] = []

    @activity(timeout=0.2, retries=1, initial=0.01)
    async def second_time() -> int:
        number = attempt_info().attempt
        if number == 1:
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0)
                cleaned.append(number)
        return number

    @workflow
    async def parent() -> int:
        return await second_time.run()

    await here.work()
    handle = await here.queue(parent)
    assert await handle.result(PATIENCE) == 2
    assert cleaned == [1]
    [row] = await here.children(handle)
    assert (row["attempts"], row["failures"]) == (2, 1)


async def test_the_late_result_of_a_sync_attempt_is_thrown_away(here: Here) -> None:
    """T12: though it comes while the next attempt runs; the body can see that it is not wanted."""
    first_is_late, both_are_there = threading.Event(), threading.Event()
    seen: list[bool] = []

    @activity(timeout=1, retries=1, initial=0.01)
    def second_time() -> str:
        number = attempt_info().attempt
        if number == 1:
            assert both_are_there.wait(PATIENCE)
            seen.append(cancelled())
            first_is_late.set()
            return "late"
        both_are_there.set()
        assert first_is_late.wait(PATIENCE)
        return "in time"

    @workflow
    async def parent() -> str:
        return await second_time.run()

    await here.work()
    handle = await here.queue(parent)
    assert await handle.result(PATIENCE) == "in time"
    assert seen == [True]
    [row] = await here.children(handle)
    assert (row["attempts"], row["failures"]) == (2, 1)


async def test_a_step_whose_attempt_takes_too_long_is_tried_again(here: Here) -> None:
    """T12: async and sync."""
    ran: dict[str, int] = {"async": 0, "sync": 0}
    late = threading.Event()

    @step(timeout=0.1, retries=1, initial=0.01)
    async def second_time() -> int:
        ran["async"] += 1
        if ran["async"] == 1:
            await asyncio.sleep(3600)
        return ran["async"]

    @step(timeout=0.3, retries=0)
    def never_in_time() -> str:
        ran["sync"] += 1
        while not cancelled() and not late.wait(0.005):
            pass
        return "late"

    @workflow
    async def parent() -> list[Any]:
        told: list[Any] = [await second_time.run()]
        try:
            await never_in_time.run()
        except StepError as error:
            told.append(error.type)
        return told

    await here.work()
    try:
        assert await here.result(parent) == [2, "AttemptTimeout"]
    finally:
        late.set()
    assert ran == {"async": 2, "sync": 1}


async def test_an_activity_out_of_time_and_attempts_is_an_activity_timeout(here: Here) -> None:
    """T12: which is a TimeoutError too."""

    @activity(timeout=0.1, retries=1, initial=0.01)
    async def never() -> None:
        await asyncio.sleep(3600)

    @workflow
    async def parent() -> list[Any]:
        try:
            await never.run()
        except TimeoutError as error:
            return [getattr(error, "type", None), getattr(error, "attempts", None)]
        return []

    await here.work()
    assert await here.result(parent) == ["AttemptTimeout", 2]


async def test_a_timeout_of_the_bodys_own_is_an_ordinary_failure(here: Here) -> None:
    """T12: and one that is longer than the attempt's does not take that for its own."""

    @activity(timeout=5, retries=1, initial=0.01)
    async def own() -> None:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(3600)

    @activity(timeout=0.1, retries=0)
    async def longer() -> None:
        async with asyncio.timeout(5):
            await asyncio.sleep(3600)

    @workflow
    async def parent() -> list[list[Any]]:
        told: list[list[Any]] = []
        for function in (own, longer):
            try:
                await function.run()
            except ActivityError as error:
                told.append([type(error).__name__, error.type, error.attempts])
        return told

    await here.work()
    assert await here.result(parent) == [
        ["ActivityError", "TimeoutError", 2],
        ["ActivityTimeout", "AttemptTimeout", 1],
    ]


async def test_an_attempt_that_swallows_its_timeout_is_out_of_time_all_the_same(here: Here) -> None:
    """T12: what it answers or raises instead is thrown away."""

    @activity(timeout=0.1, retries=0)
    async def stubborn(raises: bool) -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if raises:
                raise ValueError("instead") from None
        return "late"

    @workflow
    async def parent() -> list[str]:
        told: list[str] = []
        for raises in (False, True):
            try:
                told.append(await stubborn.run(raises))
            except ActivityTimeout as error:
                told.append(error.type)
        return told

    await here.work()
    assert await here.result(parent) == ["AttemptTimeout", "AttemptTimeout"]


# --- until the first start ------------------------------------------------------------------


async def test_a_schedule_timeout_fires_while_no_worker_serves_the_queue(here: Here) -> None:
    """T13: a worker of another queue keeps the time; who comes later runs nothing."""
    ran: list[str] = []

    @job(queue="nobody", schedule_timeout=0.3)
    async def never() -> None:
        ran.append("job")

    @activity(queue="nobody", schedule_timeout=0.3)
    async def never_either() -> None:
        ran.append("activity")

    @workflow
    async def parent() -> list[Any]:
        try:
            await never_either.run()
        except ActivityTimeout as error:
            return [error.type, error.attempts]
        return []

    await here.work()
    handle = await here.queue(never)
    assert await here.result(parent) == ["ScheduleTimeout", 0]
    with pytest.raises(ExecutionFailed) as failed:
        await handle.result(PATIENCE)
    assert failed.value.type == "ScheduleTimeout"
    await here.work("nobody")
    await here.result(never.options(schedule_timeout=None))
    assert ran == ["job"]


async def test_a_schedule_timeout_fires_while_there_is_no_worker_at_all(here: Here) -> None:
    """T13."""

    @job(schedule_timeout=0.3)
    async def never() -> None: ...

    handle = await here.queue(never)
    with pytest.raises(ExecutionFailed) as failed:
        await handle.result(PATIENCE)
    assert failed.value.type == "ScheduleTimeout"


async def test_a_schedule_timeout_never_fires_after_the_start(here: Here) -> None:
    """T13: not while the body runs, nor while it waits for its next attempt."""

    @job(schedule_timeout=0.5)
    async def long() -> str:
        await asyncio.sleep(1)
        return "done"

    @job(schedule_timeout=0.5, retries=1, initial=1, jitter=0)
    async def second_time() -> str:
        if attempt_info().attempt == 1:
            raise ValueError
        return "done"

    await here.work()
    handles = [await here.queue(long), await here.queue(second_time)]
    assert [await handle.result(PATIENCE) for handle in handles] == ["done", "done"]


# --- of a whole execution -------------------------------------------------------------------


async def test_a_total_timeout_bounds_all_attempts_and_their_back_off(here: Here) -> None:
    """The type tells it from the timeout of an attempt; a running body is told."""
    told: list[bool] = []
    ran: list[int] = []

    @activity(total_timeout=1.5, retries=100, initial=0.05, factor=1000)
    async def fails() -> None:
        ran.append(1)  # the third time would be fifty seconds later
        raise ValueError

    @activity(total_timeout=0.5)
    async def hangs() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            told.append(cancelled())

    @workflow
    async def parent() -> list[list[Any]]:
        ends: list[list[Any]] = []
        for function in (fails, hangs):
            began = workflows.now()
            try:
                await function.run()
            except ActivityTimeout as error:
                took = (workflows.now() - began).total_seconds()
                ends.append([error.type, took >= (1.5 if function is fails else 0.5)])
        return ends

    await here.work()
    assert await here.result(parent) == [["ExecutionTimeout", True]] * 2
    await here.stage.until(lambda: told == [True], "the running body to be told")
    assert len(ran) == 2


async def test_a_workflow_past_its_timeout_fails_without_a_clean_up_and_takes_its_own_along(
    here: Here,
) -> None:
    """As terminate does; it is not cancelled but failed, and in time, wherever it waits."""
    ran: list[str] = []

    @activity
    async def hangs() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ran.append("activity")

    @workflow(timeout=0.5)
    async def late() -> None:
        try:
            await gather(hangs.run(), sleep("1h"))
        finally:
            ran.append("workflow")

    await here.work()
    handle = await here.queue(late)
    asked = time.monotonic()
    with pytest.raises(ExecutionFailed) as failed:
        await handle.result(PATIENCE)
    assert failed.value.type == "ExecutionTimeout"
    assert 0.5 <= time.monotonic() - asked + 0.1 < 0.6 + MARGIN
    [child] = await here.children(handle)
    with pytest.raises(ExecutionFailed) as failed:
        await here.handle(child).result(PATIENCE)
    assert failed.value.type == "ExecutionTimeout"
    await here.stage.until(lambda: ran == ["activity"], "the activity to be told")


async def test_a_workflow_that_ends_in_time_is_left_alone_by_its_timeout(here: Here) -> None:
    @workflow(timeout=0.5)
    async def quick() -> str:
        return "done"

    await here.work()
    handle = await here.queue(quick)
    assert await handle.result(PATIENCE) == "done"
    before = await here.stage.get(handle)
    await asyncio.sleep(0.8)
    assert await here.stage.get(handle) == before
