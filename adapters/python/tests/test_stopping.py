"""Bodies that are stopped, that stop themselves, and what they report before they end."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from workflows._attempts import Attempt, Bodies, cancelled, heartbeat, last_heartbeat
from workflows._executions import Held
from workflows._functions import activity, job, step, workflow
from workflows._outcomes import StepError
from workflows._steps import _pause  # pyright: ignore[reportPrivateUsage]
from workflows._workflow import sleep

from .rig import Rig, until


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("told", [{"cancel_requested": True}, {"lost": True}])
async def test_a_stop_in_the_moment_of_the_start_frees_the_slot(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], is_async: bool
) -> None:
    """The claim and the notice come out of one drain of the channel, one right after the other."""
    ran: list[str] = []

    async def never() -> None:
        ran.append("body")

    def never_in_a_thread() -> None:
        ran.append("body")

    plain: Any = never if is_async else never_in_a_thread
    begin = Held.begin

    def begin_and_hear(held: Held) -> None:
        begin(held)
        if held.claimed["attempt"] == 1:
            if "lost" in told:
                rig.engine.steal(rig.engine.rows[held.id])
            else:
                rig.engine.stop(rig.engine.rows[held.id])
            held.notice(told)

    monkeypatch.setattr(Held, "begin", begin_and_hear)
    worker = await rig.start(concurrency=1)
    function = cast(Any, job(name="never"))(plain)
    row = await rig.end(rig.queue(function))
    assert row.status == ("completed" if "lost" in told else "cancelled")
    assert ran == (["body"] if "lost" in told else [])
    await until(lambda: not worker._held)  # pyright: ignore[reportPrivateUsage]


async def test_a_sync_step_can_see_that_nobody_waits_for_it(rig: Rig) -> None:
    seen: list[str] = []
    began, gone = threading.Event(), threading.Event()

    @step
    def looks() -> None:
        began.set()
        for _ in range(5000):
            if cancelled():
                seen.append("cancelled")
                break
            gone.wait(0.001)
        gone.set()

    @workflow
    async def w() -> None:
        await looks.run()

    await rig.start()
    row = rig.queue(w)
    await until(began.is_set)
    rig.engine.stop(row)
    assert (await rig.end(row)).status == "cancelled"
    await until(gone.is_set)
    assert seen == ["cancelled"]


async def test_a_step_that_cancels_itself_has_failed_and_is_retried(rig: Rig) -> None:
    ran: list[int] = []

    @step(retries=1, initial=0.001)
    async def cancels_itself() -> None:
        ran.append(1)
        raise asyncio.CancelledError("by itself")

    @workflow
    async def w() -> list[Any]:
        try:
            await cancels_itself.run()
        except StepError as error:
            return [error.type, error.message, error.attempts]
        return []

    assert (await rig.run(w)).result == ["CancelledError", "by itself", 2]
    assert len(ran) == 2


async def test_a_step_whose_attempts_time_out_is_retried(rig: Rig) -> None:
    ran: list[int] = []

    @step(retries=2, initial=0.001, timeout=0.02)
    async def third_time() -> int:
        ran.append(1)
        if len(ran) < 3:
            await asyncio.sleep(3600)
        return len(ran)

    @workflow
    async def w() -> int:
        return await third_time.run()

    assert (await rig.run(w)).result == 3


@pytest.mark.parametrize("is_async", [True, False])
async def test_the_last_progress_before_a_failure_is_there_for_the_next_attempt(
    rig: Rig, is_async: bool
) -> None:
    seen: list[Any] = []

    def counts() -> int:
        seen.append(last_heartbeat())
        for done in range(3):
            heartbeat([len(seen), done])
        if len(seen) < 3:
            raise ValueError
        return len(seen)

    async def counts_on_the_loop() -> int:
        return counts()

    plain: Any = counts_on_the_loop if is_async else counts
    function = cast(Any, activity(name="counts", retries=2))(plain)
    row = await rig.run(function)
    assert row.result == 3
    assert seen == [None, [1, 2], [2, 2]]


async def test_progress_in_the_moment_of_the_stop_is_there_for_the_next_worker(rig: Rig) -> None:
    seen: list[Any] = []

    @job
    async def saves() -> None:
        seen.append(last_heartbeat())
        heartbeat("begun")
        if len(seen) < 2:
            try:
                await asyncio.sleep(3600)
            finally:
                heartbeat("saved")

    worker = await rig.start(drain_timeout=0)
    row = rig.queue(saves)
    await until(lambda: seen)
    worker.stop()
    await worker.__aexit__(None, None, None)
    assert (row.status, row.failures) == ("pending", 0)
    await rig.start()
    await rig.end(row)
    assert seen == [None, "saved"]


async def test_a_stop_while_the_last_progress_is_written_interrupts_nothing(rig: Rig) -> None:
    """A cancel comes when the body has failed, and its failure is not yet told."""

    @job(retries=0)
    async def fails() -> None:
        heartbeat(1)
        raise ValueError

    worker = await rig.start()
    record = worker.record

    async def slowly(held: Held, details: Any) -> None:
        rig.engine.stop(rig.engine.rows[held.id])
        held.notice({"cancel_requested": True})
        await asyncio.sleep(0)
        await record(held, details)

    worker.record = slowly
    assert (await rig.end(rig.queue(fails))).status == "cancelled"
    await until(lambda: not worker._held)  # pyright: ignore[reportPrivateUsage]


async def test_a_workflow_goes_on_beside_a_step_that_it_gave_up(rig: Rig) -> None:
    """A step that was cancelled before its first turn leaves nothing behind."""

    @step
    async def never() -> None:
        raise AssertionError

    @workflow
    async def w() -> str:
        call = asyncio.ensure_future(never.run())
        await asyncio.sleep(0)
        call.cancel()
        await sleep(0)
        return "done"

    assert (await rig.run(w)).result == "done"


async def test_a_thread_that_goes_on_after_its_timeout_keeps_its_slot(rig: Rig) -> None:
    finish, log = threading.Event(), list[str]()

    @job(timeout=0.02, retries=0)
    def stuck() -> None:
        finish.wait(20)
        log.append("stuck returns")

    @job
    def other() -> None:
        log.append("other runs")

    worker = await rig.start(concurrency=1)
    assert (await rig.run(stuck)).status == "failed"
    row = rig.queue(other)
    await asyncio.sleep(0.1)
    assert (row.status, worker.bodies.abandoned) == ("pending", 1), "no thread is free for it"
    finish.set()
    assert (await rig.end(row)).status == "completed"
    assert log == ["stuck returns", "other runs"]
    assert worker.bodies.abandoned == 0


async def test_the_timeout_of_a_sync_body_counts_from_when_it_has_a_thread() -> None:
    busy, free = threading.Event(), threading.Event()
    pool = ThreadPoolExecutor(1)
    pool.submit(lambda: (busy.set(), free.wait(20)))
    assert busy.wait(20)

    @job
    def quick() -> str:
        return "ran"

    attempt = Attempt({"id": "1"}, lambda details: None)
    running = asyncio.ensure_future(Bodies(pool, lambda: None).run(quick, [], {}, attempt, 0.05))
    await asyncio.sleep(0.2)  # four times the timeout, with no thread to run in
    free.set()
    assert await running == (True, "ran")
    pool.shutdown()


async def test_what_a_step_does_to_its_arguments_stays_in_the_step(rig: Rig) -> None:
    @step
    async def adds(items: list[int], *, more: dict[str, int]) -> int:
        items.append(4)
        more["b"] = 2
        return len(items) + len(more)

    @workflow
    async def w() -> list[Any]:
        items, more = [1, 2, 3], {"a": 1}
        call = adds.run(items, more=more)
        items.clear()  # nor does what comes after the call reach the step
        return [await call, items, more]

    assert (await rig.run(w)).result == [6, [], {"a": 1}]


@pytest.mark.parametrize(("spread", "pause"), [(0.0, 4.0), (1.0, 5.0), (-1.0, 3.0)])
def test_the_pauses_of_a_step_have_the_jitter_of_its_policy(spread: float, pause: float) -> None:
    policy = {"initial_ms": 1000, "factor": 2.0, "jitter": 0.25}
    assert _pause(policy, 3, spread) == pause


def test_the_default_jitter_of_a_step_is_a_tenth_either_way() -> None:
    bodies = Bodies(ThreadPoolExecutor(1), lambda: None)
    pauses = [_pause({}, 1, bodies.spread()) for _ in range(200)]
    assert 0.9 <= min(pauses) < 1 < max(pauses) <= 1.1
