"""A worker that is killed, and what goes on without it."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
from workflows import (
    ActivityError,
    ExecutionFailed,
    activity,
    attempt_info,
    cancelled,
    gather,
    heartbeat,
    last_heartbeat,
    set_state,
    sleep,
    step,
    wait_for_signal,
    workflow,
)
from workflows._registry import Registry
from workflows.testing import WorkflowEnvironment


def test_a_killed_body_runs_none_of_its_code_and_another_attempt_follows(
    env: WorkflowEnvironment,
) -> None:
    log: list[str] = []

    @activity(retries=0)
    async def works() -> int:
        log.append(f"begins {attempt_info().attempt}")
        try:
            if attempt_info().attempt == 1:
                await asyncio.sleep(3600)
        except BaseException:
            log.append("except")
            raise
        finally:
            log.append("finally")
        return attempt_info().attempt

    @workflow
    async def w() -> int:
        return await works.run()

    env.crash(after="10m")
    assert env.run(w) == 2
    assert log == ["begins 1", "begins 2", "finally"]
    assert env.elapsed == timedelta(minutes=10, seconds=10), "its death is noticed after a while"
    [call] = env.calls(works)
    assert (call.attempts, call.errors, call.result) == (2, [], 2)


def test_a_workflow_goes_on_from_its_history(env: WorkflowEnvironment) -> None:
    ran: list[Any] = []

    @activity
    async def a(x: int) -> int:
        ran.append(x)
        return x

    @step
    async def s(x: int) -> int:
        ran.append(f"step {x}")
        if x == 1 and len(ran) == 2:
            env.crash()
            await asyncio.sleep(0)
            ran.append("never")
        return x

    @workflow
    async def w() -> int:
        total = await a.run(0) + await s.run(1)
        await sleep("1d")
        return total + await s.run(2)

    env.crash(after="12h")
    handle = env.start(w)
    assert handle.result() == 3
    assert ran == [0, "step 1", "step 1", "step 2"]
    assert [(call.args, call.attempts) for call in env.calls(s)] == [((1,), 2), ((2,), 1)]
    assert env.elapsed == timedelta(days=1, seconds=10)


def test_a_crash_between_your_calls(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> Any:
        set_state("waits")
        return await wait_for_signal("go")

    handle = env.start(w)
    env.crash()
    env.skip()
    assert handle.get_state() == "waits"
    env.crash()
    env.crash()
    handle.signal("go", 1)
    assert handle.result() == 1


@pytest.mark.parametrize("n", range(1, 22))
@pytest.mark.parametrize("cold", [False, True])
def test_a_crash_after_any_event_changes_nothing_of_the_result(
    own_functions: Registry, n: int, cold: bool
) -> None:
    done: list[str] = []

    @activity(retries=0)
    async def a(x: int) -> int:
        await asyncio.sleep(x)
        return x

    @activity(retries=0)
    def in_a_thread(x: int) -> int:
        return x

    @step(retries=0)
    async def s(x: int) -> int:
        await asyncio.sleep(1)
        return x

    @workflow
    async def child(x: int) -> int:
        return x + await a.run(1)

    @workflow
    async def w() -> list[Any]:
        found: list[Any] = []
        found += await gather(a.run(1), in_a_thread.run(2), s.run(3), child.run(4))
        found.append(await wait_for_signal("word", timeout="1d"))
        await gather(sleep(60), s.run(6))
        set_state(found)
        done.append("end")
        return found

    with WorkflowEnvironment(functions=own_functions, cold=cold) as env:
        handle = env.start(w)
        handle.signal("word", "x", after="1h")
        env.crash(after_events=n)
        assert handle.result() == [1, 2, 3, 5, "x"]
        assert handle.get_state() == [1, 2, 3, 5, "x"]
        names = [
            (event["type"], event.get("sequence"))
            for event in handle.history()
            if event["type"] != "cancel_requested"
        ]
        assert len(names) == len(set(names)), "nothing is recorded twice"


def test_progress_survives(env: WorkflowEnvironment) -> None:
    @activity
    async def counts() -> list[int]:
        seen: list[int] = []
        for n in range(last_heartbeat(int) or 0, 10):
            heartbeat(n)
            await asyncio.sleep(60)
            seen.append(n)
        return seen

    env.crash(after="330s")
    assert env.run(counts) == [5, 6, 7, 8, 9]


def test_a_body_in_a_thread_cannot_be_killed_and_its_result_is_dropped(
    env: WorkflowEnvironment,
) -> None:
    attempts: list[int] = []
    finish = threading.Event()

    @activity
    def works() -> int:
        number = attempt_info().attempt
        attempts.append(number)
        if number == 1:
            env.crash()
            assert cancelled()
            finish.wait(20)
        return number

    @workflow
    async def w() -> int:
        return await works.run()

    assert env.run(w) == 2
    finish.set()
    env.skip("1h")
    assert attempts == [1, 2]


def test_what_crashes_its_worker_again_and_again_is_given_up(env: WorkflowEnvironment) -> None:
    innocents: list[str] = []

    @activity
    async def kills() -> None:
        env.crash()
        await asyncio.sleep(1)

    @activity
    async def innocent() -> str:
        innocents.append("ran")
        await asyncio.sleep(5)
        return "done"

    @workflow
    async def w() -> list[str]:
        both = await gather(kills.run(), innocent.run(), return_exceptions=True)
        return [each.type if isinstance(each, ActivityError) else str(each) for each in both]

    assert env.run(w) == ["WorkerLost", "done"]
    with pytest.raises(ExecutionFailed, match="3 times in a row"):
        env.run(kills)


def test_a_crash_on_a_condition(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> str:
        set_state("one")
        await sleep("1h")
        set_state("two")
        await sleep("1h")
        return "end"

    handle = env.start(w)
    crashes: list[timedelta] = []

    def crash() -> None:
        crashes.append(env.elapsed)
        env.crash()

    env.when(lambda: handle.get_state() == "two", crash)
    env.crash(when=lambda: handle.get_state() == "one")
    assert handle.result() == "end"
    assert crashes == [timedelta(hours=1)]


async def test_a_crash_in_async_code(env: WorkflowEnvironment) -> None:
    log: list[int] = []

    @activity
    async def works() -> int:
        log.append(attempt_info().attempt)
        await asyncio.sleep(60)
        return attempt_info().attempt

    handle = await works.queue()
    await asyncio.sleep(30)
    env.crash()
    assert await handle.result() == 2
    assert log == [1, 2]
