"""Time in an environment: skipped when nothing runs, and kept where something does."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from workflows import (
    ActivityError,
    ActivityTimeout,
    ExecutionFailed,
    SignalTimeout,
    activity,
    attempt_info,
    cancelled,
    gather,
    job,
    now,
    race,
    sleep,
    step,
    wait_for_signal,
    workflow,
)
from workflows._registry import Registry
from workflows.testing import Stuck, WorkflowEnvironment

DAY = 86400.0


def test_sleeps_signal_timeouts_and_asyncio_timeouts(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> list[float]:
        began, at = now(), list[float]()

        def note() -> None:
            at.append((now() - began).total_seconds())

        await sleep("2d")
        note()
        await sleep(0)
        with pytest.raises(SignalTimeout):
            await wait_for_signal("never", timeout="1h")
        note()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await sleep("1d")
        note()
        await race(first=sleep("5m"), second=sleep("10m"))
        note()
        return at

    assert env.run(w) == [2 * DAY, 2 * DAY + 3600, 2 * DAY + 3600.25, 2 * DAY + 3900.25]
    assert env.elapsed == timedelta(days=2, hours=1, minutes=5, milliseconds=250)


def test_delays_of_retries_are_those_of_the_policy_without_jitter(env: WorkflowEnvironment) -> None:
    at: list[float] = []

    @activity(retries=4, initial="1s", factor=3, max="20s")
    async def a() -> None:
        at.append(env.elapsed.total_seconds())
        raise ValueError

    @step(retries=2, initial="10s", factor=2)
    async def s() -> None:
        at.append(env.elapsed.total_seconds())
        raise ValueError

    @workflow
    async def w() -> None:
        for call in (a, s):
            with pytest.raises(Exception, match="ValueError"):
                await call.run()

    env.run(w)
    assert at == [0, 1, 4, 13, 33, 33, 43, 63]


def test_starts_deadlines_and_schedule_timeouts(own_functions: Registry) -> None:
    @activity(queue="elsewhere", schedule_timeout="1h")
    async def nobody_runs_it() -> None: ...

    @activity(total_timeout="10s", retries=100, initial="3s", factor=1)
    async def keeps_failing() -> None:
        raise ValueError

    @job(delay="2d")
    async def late() -> float:
        return env.elapsed.total_seconds()

    @workflow(timeout="30d")
    async def too_long() -> None:
        await sleep("31d")

    @workflow
    async def w() -> list[str]:
        found: list[str] = []
        for call in (nobody_runs_it.run(), keeps_failing.run()):
            try:
                await call
            except ActivityTimeout as error:
                found.append(error.type)
        return found

    with WorkflowEnvironment(functions=own_functions, queues=["default"]) as env:
        assert env.run(w) == ["ScheduleTimeout", "ExecutionTimeout"]
        assert env.elapsed == timedelta(hours=1)
        assert env.run(late) == 2 * DAY + 3600
        with pytest.raises(ExecutionFailed) as failed:
            env.run(too_long)
    assert failed.value.type == "ExecutionTimeout"
    assert env.elapsed == timedelta(days=32, hours=1)


def test_an_attempt_timeout_stops_an_async_body_and_leaves_a_sync_one(
    env: WorkflowEnvironment,
) -> None:
    log: list[str] = []

    @activity(timeout="1h", retries=1, initial="1s")
    async def slow() -> None:
        try:
            await asyncio.sleep(7200)
        finally:
            log.append(f"async {env.elapsed.total_seconds()}")

    @activity(timeout=0.05, retries=0)
    def slow_sync() -> None:
        while not cancelled():
            time.sleep(0.001)
        log.append("sync")

    @workflow
    async def w() -> list[str]:
        found: list[str] = []
        for call in (slow, slow_sync):
            with pytest.raises(ActivityError) as failed:
                await call.run()
            found.append(f"{failed.value.type} {failed.value.attempts}")
        return found

    assert env.run(w) == ["AttemptTimeout 2", "AttemptTimeout 1"]
    env.until(lambda: len(log) == 3)
    assert log == ["async 3600.0", "async 7201.0", "sync"]


def test_while_a_thread_works_time_is_not_skipped(env: WorkflowEnvironment) -> None:
    began, finish = threading.Event(), threading.Event()

    @activity(timeout="30s")
    def works() -> str:
        began.set()
        assert finish.wait(25)
        return "done"

    @workflow
    async def w() -> Any:
        return await gather(works.run(), sleep("40s"))

    timer = threading.Timer(0.05, finish.set)
    timer.start()
    assert env.run(w) == ["done", None]
    assert began.is_set()
    assert env.elapsed == timedelta(seconds=40)
    assert env.calls(works)[0].ended == env.calls(works)[0].started


def test_a_body_that_talks_to_a_socket_has_its_time(env: WorkflowEnvironment) -> None:
    here, there = socket.socketpair()

    @activity(timeout="1h")
    async def asks() -> str:
        reader, writer = await asyncio.open_connection(sock=here)
        writer.write(b"question\n")
        answer = await reader.readline()
        writer.close()
        return answer.decode().strip()

    @workflow
    async def w() -> str:
        return await asks.run()

    def answer() -> None:
        there.recv(100)
        time.sleep(0.05)
        there.sendall(b"answer\n")

    thread = threading.Thread(target=answer)
    thread.start()
    assert env.run(w) == "answer"
    thread.join()
    there.close()
    assert env.elapsed < timedelta(seconds=30)


def test_a_body_that_sleeps_beside_a_connection_does_not_stop_time(
    env: WorkflowEnvironment,
) -> None:
    here, there = socket.socketpair()

    @activity
    async def sleeps() -> None:
        _, writer = await asyncio.open_connection(sock=here)
        for _ in range(100):
            await asyncio.sleep(36)
        writer.close()

    @workflow
    async def w() -> None:
        await sleeps.run()
        await sleep("1d")

    began = time.monotonic()
    env.run(w)
    assert env.elapsed == timedelta(days=1, hours=1)
    there.close()
    assert time.monotonic() - began < 60


def test_a_body_that_waits_for_a_thread_of_its_own_has_its_time(env: WorkflowEnvironment) -> None:
    @activity(timeout="1h")
    async def asks() -> str:
        loop, answer = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        later = threading.Timer(0.05, loop.call_soon_threadsafe, [answer.set_result, "answer"])
        later.start()
        async with asyncio.timeout(1800):
            return await answer

    @workflow
    async def w() -> str:
        return await asks.run()

    assert env.run(w) == "answer"
    assert env.elapsed < timedelta(seconds=30)


def test_a_body_that_waits_for_another_does_not_stop_time(env: WorkflowEnvironment) -> None:
    ready = asyncio.Event()

    @activity
    async def waits() -> None:
        await ready.wait()

    @activity
    async def sleeps() -> None:
        await asyncio.sleep(3600)
        ready.set()

    @workflow
    async def w() -> None:
        await gather(waits.run(), sleeps.run())

    began = time.monotonic()
    env.run(w)
    assert env.elapsed == timedelta(hours=1)
    assert time.monotonic() - began < 4, "it was not patient, as it is for what comes from outside"


def test_a_silent_body_stops_time_for_the_patience_only_once(own_functions: Registry) -> None:
    @activity
    async def hangs() -> None:
        await asyncio.get_running_loop().create_future()

    @workflow
    async def w() -> None:
        _ = hangs.run()
        for _ in range(100):
            await sleep("1h")

    began = time.monotonic()
    with WorkflowEnvironment(functions=own_functions, patience=0.5) as env:
        env.run(w)
    assert env.elapsed == timedelta(hours=100)
    assert 0.5 <= time.monotonic() - began < 40


def test_processes_can_be_waited_for(env: WorkflowEnvironment) -> None:
    @activity(timeout="1m")
    async def runs_a_program() -> str:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(6 * 7)", stdout=asyncio.subprocess.PIPE
        )
        return (await program.communicate())[0].decode().strip()

    @workflow
    async def w() -> str:
        return await runs_a_program.run()

    assert env.run(w) == "42"


async def test_a_timeout_in_the_test_goes_by_the_same_time(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> None:
        await sleep("1d")

    handle = env.start(w)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await handle
    assert env.elapsed == timedelta(hours=1)
    assert await handle is None


# --- a test says when ---------------------------------------------------------------------


def test_skip_lets_everything_happen_until_then(env: WorkflowEnvironment) -> None:
    ticks: list[float] = []

    @activity
    async def tick() -> None:
        ticks.append(env.elapsed.total_seconds() / 3600)

    @workflow
    async def hourly() -> None:
        while True:
            await sleep("1h")
            await tick.run()

    env.start(hourly)
    env.skip("3h")
    assert ticks == [1, 2, 3]
    env.skip("59m")
    assert ticks == [1, 2, 3]
    env.skip(60)
    assert ticks == [1, 2, 3, 4]


def test_until_runs_no_further_than_it_has_to(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> None:
        await sleep("1d")
        await sleep("1d")

    handle = env.start(w)
    env.until(lambda: len(handle.history()) >= 3)
    assert env.elapsed == timedelta(days=1)
    with pytest.raises(Stuck, match="the condition does not hold"):
        env.until(lambda: False)
    assert handle.status() == "completed"


def test_what_is_planned_happens_at_its_time_and_its_errors_are_told(
    env: WorkflowEnvironment,
) -> None:
    log: list[str] = []

    @workflow
    async def w() -> None:
        await sleep("1h")
        await sleep("1h")

    async def later() -> None:
        await asyncio.sleep(60)
        log.append(f"awaited {env.elapsed}")

    handle = env.start(w)
    env.after("1h", lambda: log.append(handle.history()[-1]["type"]))
    env.after("30m", later)
    env.when(lambda: len(log) == 2, lambda: log.append("condition"))
    assert handle.result() is None
    assert log == ["awaited 0:31:00", "timer_fired", "condition"]

    def fails() -> None:
        raise LookupError("a mistake in the script")

    async def fails_too() -> None:
        raise LookupError("another mistake")

    for act in (fails, fails_too):
        env.after("1m", act)
        with pytest.raises(LookupError, match="mistake"):
            env.run(w)
    env.when(lambda: 1 / 0 > 0, fails)
    with pytest.raises(ZeroDivisionError):
        env.run(w)


def test_a_mistake_that_nobody_waited_for_is_told_to_the_next_who_waits(
    env: WorkflowEnvironment,
) -> None:
    @workflow
    async def w() -> None: ...

    def fails() -> None:
        raise LookupError("a mistake in the script")

    env.when(lambda: True, fails)
    env.after("1h", fails)
    for _ in range(2):
        with pytest.raises(LookupError):
            env.skip("2h")
    assert env.run(w) is None


async def test_a_mistake_that_nobody_hears_of_is_told_at_the_end(own_functions: Registry) -> None:
    def fails() -> None:
        raise LookupError("a mistake in the script")

    async def test() -> None:
        async with WorkflowEnvironment(functions=own_functions) as env:
            env.after("1h", fails)
            await asyncio.sleep(7200)

    with pytest.raises(LookupError):
        await test()


# --- two runs of a test are the same ------------------------------------------------------


def test_two_runs_of_a_test_are_the_same(own_functions: Registry) -> None:
    @activity
    def in_a_thread(n: int) -> str:
        return f"{n} {attempt_info().id}"

    @activity
    async def in_async_code(n: int) -> int:
        await asyncio.sleep(n % 3)
        if n == 4 and attempt_info().attempt == 1:
            raise ValueError("no")
        return n

    @workflow
    async def w() -> list[Any]:
        calls = [in_a_thread.run(n) for n in range(20)]
        others = [in_async_code.run(n) for n in range(10)]
        return [await gather(*calls), await gather(*others)]

    def history(seed: int) -> list[Any]:
        with WorkflowEnvironment(functions=own_functions, seed=seed) as env:
            handle = env.start(w)
            env.replace(in_async_code, takes="1s")
            result = handle.result()
            events = handle.history()
            for event in events:
                if event["type"] == "activity_failed":
                    event["payload"] = None  # its stack names lines
            return [handle.id, result, events]

    assert history(1) == history(1)
    assert history(1)[0] != history(2)[0]


async def test_an_environment_that_is_not_used_leaves_the_loop_alone(
    env: WorkflowEnvironment,
) -> None:
    began = time.monotonic()
    await asyncio.sleep(0.05)
    assert time.monotonic() - began >= 0.04
    assert env.elapsed == timedelta(0)
