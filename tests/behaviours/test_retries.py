"""Attempts: how often a body runs, how long it may take, and what the next attempt knows."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from crash_here import Here
from crash_stage import MARGIN, PATIENCE
from workflows import (
    ActivityError,
    ExecutionFailed,
    NonRetryableError,
    PayloadError,
    StepError,
    activity,
    attempt_info,
    heartbeat,
    job,
    last_heartbeat,
    sleep,
    step,
    workflow,
)

# --- how often ----------------------------------------------------------------------------


async def test_a_policy_is_given_by_function_or_by_call(here: Here) -> None:
    """T1: `.options()` changes one call, and leaves the function alone."""
    ran: list[str] = []

    @activity(retries=1, initial=0.01)
    async def fails(who: str) -> None:
        ran.append(who)
        raise ValueError(who)

    @workflow
    async def parent() -> list[int]:
        attempts: list[int] = []
        for function in (fails, fails.options(retries=3), fails.options(retries=0), fails):
            try:
                await function.run("child")
            except ActivityError as error:
                attempts.append(error.attempts)
        return attempts

    await here.work()
    assert await here.result(parent) == [2, 4, 1, 2]
    assert len(ran) == 9


async def test_a_workflow_does_not_retry_by_itself(here: Here) -> None:
    """T1: its code may have done half of its work."""
    ran: list[int] = []

    @workflow
    async def fails() -> None:
        await sleep(0)
        ran.append(1)
        raise ValueError

    await here.work()
    handle = await here.queue(fails)
    with pytest.raises(ExecutionFailed):
        await handle.result(PATIENCE)
    assert ran == [1]
    assert (await here.stage.get(handle))["attempts"] == 1


async def test_back_off_gaps_grow_by_their_factor_and_are_capped(here: Here) -> None:
    """T2: uncapped, the last two would be eight seconds and eighty."""
    at: dict[str, list[float]] = {"grows": [], "capped": []}

    @job(retries=3, initial=0.1, factor=3, jitter=0)
    async def fails(which: str) -> None:
        at[which].append(time.monotonic())
        raise ValueError

    await here.work(poll_interval=60)  # a retry needs no poll to be in time
    capped = fails.options(retries=4, initial=0.08, factor=10, max=0.2)
    handles = [await here.queue(fails, "grows"), await here.queue(capped, "capped")]
    for handle in handles:
        with pytest.raises(ExecutionFailed):
            await handle.result(PATIENCE)
    gaps = {which: [later - one for one, later in pairwise(at[which])] for which in at}
    for which, least in {"grows": (0.1, 0.3, 0.9), "capped": (0.08, 0.2, 0.2, 0.2)}.items():
        assert len(gaps[which]) == len(least)
        assert all(gap >= wanted for gap, wanted in zip(gaps[which], least, strict=True)), gaps
    assert max(gaps["capped"]) < 0.2 + MARGIN


async def test_jitter_spreads_the_gaps_by_its_fraction(here: Here) -> None:
    """T2: and none of it means none."""
    failed: dict[str, float] = {}

    @job(retries=1, initial=20)
    async def fails() -> None:
        failed[attempt_info().id] = time.time()
        raise ValueError

    await here.work(concurrency=40)
    server = datetime.fromisoformat((await here.stage.client.stats())["server_time"]).timestamp()
    ahead = server - time.time()
    gaps: dict[float, list[float]] = {}
    for jitter in (0.0, 0.5):
        handles = [await here.queue(fails.options(jitter=jitter)) for _ in range(40)]
        for handle in handles:
            await here.stage.is_in(handle, "scheduled")
            run_at = datetime.fromisoformat((await here.stage.get(handle))["run_at"])
            gap = run_at.timestamp() - (failed[handle.id] + ahead)
            gaps.setdefault(jitter, []).append(gap)
    lag = 4.0  # between the body's clock and the database's, on a busy machine
    assert all(20 - 0.5 <= gap <= 20 + lag for gap in gaps[0.0]), gaps
    assert all(10 - 0.5 <= gap <= 30 + lag for gap in gaps[0.5]), gaps
    assert min(gaps[0.5]) < 18
    assert max(gaps[0.5]) > 24


async def test_back_off_survives_the_restart_of_every_worker(here: Here) -> None:
    """T3: it neither starts anew nor ends early, and no attempt is counted twice."""
    at: list[float] = []

    @job(retries=1, initial=1.5, jitter=0)
    async def second_time() -> int:
        at.append(time.monotonic())
        if len(at) == 1:
            raise ValueError
        return attempt_info().attempt

    worker = await here.work()
    handle = await here.queue(second_time)
    await here.stage.is_in(handle, "scheduled")
    await here.dismiss(worker)
    await asyncio.sleep(0.75)
    await here.work()
    served = time.monotonic()
    assert await handle.result(PATIENCE) == 2
    assert at[1] - at[0] >= 1.5
    assert at[1] < max(at[0] + 1.5, served) + MARGIN


async def test_back_off_holds_no_slot(here: Here) -> None:
    """T3: of a worker that has one."""
    done: list[int] = []

    @job(initial="1h", max="1h")
    async def fails() -> None:
        raise ValueError

    @job
    async def works(n: int) -> None:
        done.append(n)

    await here.work(concurrency=1)
    handle = await here.queue(fails)
    await here.stage.is_in(handle, "scheduled")
    for n in range(3):
        await here.result(works, n)
    assert done == [0, 1, 2]
    assert await handle.status() == "scheduled"


class Declined(Exception): ...


class DeclinedByBank(Declined): ...


class Final(NonRetryableError): ...


class MoreFinal(Final): ...


@pytest.mark.parametrize(
    ("raises", "never", "runs"),
    [
        (Declined, [Declined], 1),
        (DeclinedByBank, [Declined], 1),
        (Declined, ["Declined"], 1),
        (DeclinedByBank, ["Declined"], 1),
        (KeyError, [LookupError], 1),
        (Final, [], 1),
        (MoreFinal, [], 1),
        (Declined, [DeclinedByBank], 3),
        (Declined, [KeyError, "Clined"], 3),
    ],
)
async def test_types_that_are_never_retried_run_once(
    here: Here, raises: type[Exception], never: list[Any], runs: int
) -> None:
    """T4: by type and by name, their subclasses too; an activity, a job and a step alike."""
    ran: dict[str, int] = {"activity": 0, "job": 0, "step": 0}

    def body(what: str) -> None:
        ran[what] += 1
        raise raises("no")

    @activity(retries=2, initial=0.01, non_retryable=never)
    async def by_decorator() -> None:
        body("activity")

    @job(retries=2, initial=0.01)
    def by_call() -> None:
        body("job")

    @step(retries=2, initial=0.01, non_retryable=never)
    async def in_a_step() -> None:
        body("step")

    @workflow
    async def parent() -> list[Any]:
        told: list[Any] = []
        for call in (
            by_decorator.run,
            by_call.options(non_retryable=never).run,
            in_a_step.run,
        ):
            try:
                await call()
            except (ActivityError, StepError) as error:
                told.append([error.type, error.attempts])
        return told

    await here.work()
    assert await here.result(parent) == [[raises.__name__, runs]] * 3
    assert set(ran.values()) == {runs}


# --- what the next attempt knows ------------------------------------------------------------


@dataclass
class Progress:
    done: int
    page: str


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_the_next_attempt_reads_the_progress_that_the_last_one_reported(
    here: Here, is_async: bool
) -> None:
    """Also when it failed right after; rebuilt by its type, and there for whoever looks."""
    seen: list[Progress | None] = []

    def counts() -> int:
        seen.append(last_heartbeat(Progress))
        for done in range(3):
            heartbeat({"done": done, "page": f"page {len(seen)}"})
        if len(seen) < 3:
            raise ValueError
        return len(seen)

    @activity(retries=2, initial=0.01)
    def in_a_thread() -> int:
        return counts()

    @activity(retries=2, initial=0.01)
    async def on_the_loop() -> int:
        return counts()

    @workflow
    async def parent() -> int:
        return await (on_the_loop if is_async else in_a_thread).run()

    await here.work()
    handle = await here.queue(parent)
    assert await handle.result(PATIENCE) == 3
    assert seen == [None, Progress(2, "page 1"), Progress(2, "page 2")]
    [row] = await here.children(handle)
    assert row.get("progress") == {"done": 2, "page": "page 2"}


async def test_progress_can_be_looked_at_while_the_body_runs(here: Here) -> None:
    go = asyncio.Event()

    @job
    async def counts() -> None:
        heartbeat({"done": 1})
        await go.wait()

    await here.work()
    handle = await here.queue(counts)

    async def progress() -> Any:
        return (await here.stage.get(handle)).get("progress")

    await here.stage.becomes(progress, {"done": 1})
    go.set()
    await handle.result(PATIENCE)


async def test_a_stopped_worker_leaves_its_last_progress_to_the_next(here: Here) -> None:
    """T9: what the body reports while it is stopped as well; no attempt is counted."""
    seen: list[Any] = []
    began = asyncio.Event()

    @job
    async def saves() -> list[int]:
        seen.append(last_heartbeat())
        began.set()
        if len(seen) == 1:
            try:
                await asyncio.sleep(3600)
            finally:
                heartbeat("saved")
        return [attempt_info().attempt]

    worker = await here.work()
    handle = await here.queue(saves)
    await began.wait()
    await here.dismiss(worker)
    assert await handle.status() == "pending"
    await here.work()
    assert await handle.result(PATIENCE) == [1]
    assert seen == [None, "saved"]
    row = await here.stage.get(handle)
    assert (row["attempts"], row["failures"], row["releases"]) == (1, 0, 1)


# --- results ------------------------------------------------------------------------------

_NOT_JSON: dict[str, Any] = {
    "result.x[1]": {"x": [1, float("nan")]},
    "result[0].y": [{"y": float("inf")}],
    "result": {1, 2},
    "result.z": {"z": b"bytes"},
}


@pytest.mark.parametrize("path", _NOT_JSON)
async def test_a_result_that_is_not_json_fails_what_made_it_with_the_path_of_the_value(
    here: Here, path: str
) -> None:
    """T17: once, without another attempt; the worker lives, and so do those beside it."""
    ran: list[str] = []

    def body(what: str) -> Any:
        ran.append(what)
        return _NOT_JSON[path]

    @job(initial=0.01)
    async def bad_job() -> Any:
        return body("job")

    @job(initial=0.01)
    def bad_sync_job() -> Any:
        return body("sync job")

    @activity(initial=0.01)
    async def bad_activity() -> Any:
        return body("activity")

    @step(initial=0.01)
    async def bad_step() -> Any:
        return body("step")

    @workflow
    async def bad_workflow() -> Any:
        return body("workflow")

    @workflow
    async def catches() -> list[str]:
        told: list[str] = []
        for function in (bad_activity, bad_step):
            try:
                await function.run()
            except (ActivityError, StepError) as error:
                told.append(f"{error.type} {error.message} {error.attempts}")
        return told

    @job
    async def good() -> str:
        return "alive"

    await here.work()
    for function in (bad_job, bad_sync_job, bad_workflow):
        with pytest.raises(ExecutionFailed) as failed:
            await here.result(function)
        assert failed.value.type == PayloadError.__name__
        assert failed.value.message.startswith(f"{path}: ")
    told = await here.result(catches)
    assert [each.startswith(f"PayloadError {path}: ") for each in told] == [True, True]
    assert [each[-2:] for each in told] == [" 1", " 1"]
    counts = {what: ran.count(what) for what in ("job", "sync job", "activity", "step")}
    assert set(counts.values()) == {1}
    assert await here.result(good) == "alive"
