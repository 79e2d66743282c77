"""What does not come to an end in an environment, and is told instead of hanging."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from workflows import (
    ExecutionFailed,
    activity,
    continue_as_new,
    gather,
    sleep,
    wait_for_signal,
    workflow,
)
from workflows._registry import Registry
from workflows.testing import Endless, Stuck, WorkflowEnvironment


@pytest.mark.workflow_environment(patience=0.1)
def test_what_waits_for_what_nobody_sends_is_told_at_once(env: WorkflowEnvironment) -> None:
    @activity
    async def hangs() -> None:
        await asyncio.Event().wait()

    @workflow(name="child")
    async def child() -> None:
        await gather(wait_for_signal("packed"), hangs.run())

    @workflow(name="parent")
    async def parent() -> None:
        await gather(child.run(), wait_for_signal("approved"))

    began = time.monotonic()
    with pytest.raises(Stuck) as stuck:
        env.run(parent)
    assert time.monotonic() - began < 20
    told = str(stuck.value)
    assert "the end of 'parent', at 2026-01-01 00:00:00" in told
    for line in (
        "workflow 'parent'",
        "for the signal 'approved', which nobody sends",
        "workflow 'child'",
        "for the signal 'packed', which nobody sends",
        "runs, and its code awaits something that does not come",
    ):
        assert line in told
    env.executions(parent)[0].terminate()


def test_what_nobody_runs_is_told(own_functions: Registry) -> None:
    @activity(name="paint", queue="elsewhere")
    async def paint() -> None: ...

    @workflow
    async def w() -> None:
        await paint.run()

    stuck = pytest.raises(Stuck, match="for a worker on queue 'elsewhere'")
    with WorkflowEnvironment(functions=own_functions, queues=["default"]) as env, stuck:
        env.run(w)


def test_a_function_that_is_not_here_is_told(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> None:
        await paint.run()

    @activity(name="paint")
    async def paint() -> None: ...

    del env._runner.functions._base._functions["activity", "paint"]  # type: ignore[attr-defined]
    with pytest.raises(Stuck, match=r"no activity 'paint' here.*env.replace\('paint'"):
        env.run(w)
    env.replace("paint", returns=None)
    env.skip("1h")
    assert env.executions(w)[0].result() is None


async def test_in_async_code_whoever_awaits_is_told(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> None:
        await wait_for_signal("go")

    handle = env.start(w)
    with pytest.raises(Stuck, match="'go'"):
        await handle
    with pytest.raises(Stuck, match="'go'"):
        await w.run()
    handle.signal("go", after="1d")
    assert await handle is None


def test_time_has_an_end(own_functions: Registry) -> None:
    @workflow(name="forever")
    async def forever() -> None:
        while True:
            await sleep("1d")

    with WorkflowEnvironment(functions=own_functions, time_limit="30d") as env:
        with pytest.raises(
            Endless, match=r"beyond 2026-01-31.*the timer 'sleep' of workflow forever"
        ):
            env.run(forever)
        env.skip("60d")  # whoever says how far goes as far
        assert env.elapsed == timedelta(days=90)


def test_runs_are_followed_and_have_an_end(own_functions: Registry) -> None:
    @activity
    async def work(n: int) -> int:
        return n

    @workflow
    async def countdown(n: int) -> str:
        await work.run(n)
        await sleep("1h")
        if n > 0:
            continue_as_new(n - 1)
        return f"done {await wait_for_signal('word')}"

    with WorkflowEnvironment(functions=own_functions, max_runs=10) as env:
        handle = env.start(countdown, 8)
        handle.signal("word", "early")
        assert handle.result() == "done early"
        assert handle.run == 9
        assert env.elapsed == timedelta(hours=9)
        assert [call.args for call in env.calls(work)] == [(n,) for n in range(8, -1, -1)]
        assert [event["type"] for event in handle.history(run=1)][-1] == "continued"
        assert handle.history()[0]["type"] == "signal_received"
        with pytest.raises(Endless, match="10 times"):
            env.run(countdown, 100)


def test_runs_without_a_pause_have_an_end_too(own_functions: Registry) -> None:
    @workflow
    async def spins() -> None:
        continue_as_new()

    with WorkflowEnvironment(functions=own_functions, max_runs=50) as env:
        with pytest.raises(Endless):
            env.run(spins)
        with pytest.raises(Endless):
            env.skip("1h")
        env.executions(spins)[0].terminate()
        env.skip("1h")


def test_a_history_has_an_end(own_functions: Registry) -> None:
    @workflow
    async def grows() -> None:
        while True:
            await sleep(1)

    with WorkflowEnvironment(functions=own_functions, prove="never") as env:
        env._runner.engine.max_history = 200  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(ExecutionFailed) as failed:
            env.run(grows)
    assert "continue_as_new" in failed.value.message
