"""Running workflows in an environment: from sync and async tests, threads and other loops."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import pytest
import workflows
from workflows import (
    ActivityError,
    AttemptInfo,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionFinished,
    NotDurableError,
    ResultTimeout,
    activity,
    attempt_info,
    cancelled,
    client,
    gather,
    heartbeat,
    job,
    last_heartbeat,
    set_state,
    sleep,
    step,
    wait_for_signal,
    workflow,
    workflow_info,
)
from workflows._registry import Registry
from workflows.testing import EnvironmentHandle, WorkflowEnvironment


def test_bodies_run_for_real(env: WorkflowEnvironment) -> None:
    @activity
    async def plus(x: int) -> int:
        await asyncio.sleep(1)
        return x + 1

    @activity
    def twice(x: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return 2 * x

    @step
    async def minus(x: int) -> int:
        return x - 1

    @workflow
    async def leaf(x: int) -> int:
        return x

    @workflow
    async def w(x: int, *, more: int = 0) -> int:
        first, second = await gather(plus.run(x), twice.run(x))
        await sleep("1h")
        return await minus.run(first + second) + await leaf.run(more)

    assert env.run(w, 10, more=5) == 35
    assert env.elapsed == timedelta(hours=1, seconds=1)


def test_results_are_typed(env: WorkflowEnvironment) -> None:
    @workflow
    async def w(x: int) -> str:
        return str(x)

    @job
    def sync_job() -> list[int]:
        return [1]

    result, handle = env.run(w, 1), env.start(w, 2)
    assert_type(result, str)
    assert_type(handle, EnvironmentHandle[str])
    assert_type(handle.result(), str)
    assert_type(env.run(sync_job), list[int])
    assert_type(env.start(w.options(priority=9), 1), EnvironmentHandle[str])
    assert (result, handle.result()) == ("1", "2")
    with pytest.raises(TypeError, match="w"):
        env.run(w)  # pyright: ignore[reportCallIssue]


def test_jobs_and_activities_run_by_themselves(env: WorkflowEnvironment) -> None:
    @job(retries=0)
    def fails() -> None:
        raise ValueError("no")

    @activity
    async def info() -> str:
        found: AttemptInfo = attempt_info()
        return f"{found.name} {found.attempt} {found.parent_id}"

    with pytest.raises(ExecutionFailed) as failed:
        env.run(fails)
    assert (failed.value.type, failed.value.message) == ("ValueError", "no")
    assert "test_environment.py" in failed.value.stack
    assert env.run(info) == f"{info.name} 1 None"


def test_how_a_workflow_ends_is_raised(env: WorkflowEnvironment) -> None:
    @activity(retries=1)
    async def bad() -> None:
        raise KeyError("x")

    @workflow
    async def fails() -> None:
        await bad.run()

    @workflow
    async def waits() -> None:
        await sleep("1d")

    with pytest.raises(ExecutionFailed) as failed:
        env.run(fails)
    assert failed.value.type == "ActivityError"
    handle = env.start(waits)
    handle.cancel("not any more", after="1h")
    with pytest.raises(ExecutionCancelled, match="not any more"):
        handle.result()
    assert handle.status() == "cancelled"
    slow = env.start(waits)
    with pytest.raises(ResultTimeout):
        slow.result(timeout="2h")
    assert slow.status() == "suspended"
    assert slow.result() is None


def test_what_runs_has_its_progress_its_attempt_and_its_cancel(env: WorkflowEnvironment) -> None:
    seen: list[Any] = []

    @activity(retries=1, initial="1s")
    async def counts() -> int:
        seen.append((attempt_info().attempt, last_heartbeat()))
        heartbeat({"done": 5})
        if len(seen) == 1:
            raise ValueError
        return 1

    @activity
    def endless() -> str:
        while not cancelled():
            threading.Event().wait(0.001)
        seen.append("stopped")
        return "too late"

    @workflow
    async def w() -> None:
        await counts.run()
        await endless.run()

    handle = env.start(w)
    handle.cancel(when=lambda: len(env.calls(endless)) == 1)
    with pytest.raises(ExecutionCancelled):
        handle.result()
    env.until(lambda: len(seen) == 3)
    assert seen == [(1, None), (2, {"done": 5}), "stopped"]


def test_state_status_and_history_can_be_looked_at(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> str:
        set_state({"at": "start"})
        await wait_for_signal("go")
        set_state({"at": "end"})
        return workflow_info().id

    handle = env.start(w)
    assert (handle.status(), handle.get_state(), handle.history()) == ("pending", None, [])
    env.skip()
    assert (handle.status(), handle.get_state(dict[str, str])) == ("suspended", {"at": "start"})
    assert handle.waits_for("go")
    assert not handle.waits_for("stop")
    handle.signal("go")
    assert handle.result() == handle.id
    assert handle.get_state() == {"at": "end"}
    assert not handle.waits_for("go")
    types = [event["type"] for event in handle.history()]
    assert types == ["started", "state_set", "signal_received", "state_set"]
    assert handle.execution()["attempts"] == 1
    assert handle.run == 1
    assert "completed" in repr(handle)


def test_an_idempotency_key_answers_the_first(env: WorkflowEnvironment) -> None:
    @workflow
    async def w(x: int) -> int:
        return x

    keyed = w.options(idempotency_key="key")
    first, second = env.start(keyed, 1), env.start(keyed, 2)
    assert (first.created, second.created) == (True, False)
    assert first == second
    assert second.result() == 1


def test_a_start_brings_its_signal(env: WorkflowEnvironment) -> None:
    @workflow
    async def cart() -> list[str]:
        return [await wait_for_signal("add", str) for _ in range(2)]

    keyed = cart.options(idempotency_key="cart 7", signal=("add", "book"))
    handle = env.start(keyed)
    assert env.start(cart.options(idempotency_key="cart 7", signal=("add", "pen"))) == handle
    assert handle.result() == ["book", "pen"]
    with pytest.raises(ExecutionFinished):
        env.start(keyed)


# --- the application's own code -----------------------------------------------------------


def test_the_default_client_is_the_environments(env: WorkflowEnvironment) -> None:
    before = client()
    assert before is env.client

    @workflow
    async def w(x: int) -> int:
        return x + await wait_for_signal("add", int)

    handle = w.queue_sync(1)
    client().signal_sync(handle.id, "add", 2)
    assert handle.result_sync() == 3
    assert env.handle(handle.id).result() == 3
    assert env.executions(w) == [env.handle(handle)]
    with pytest.raises(LookupError):
        env.handle("nobody")


def test_the_former_default_client_comes_back(own_functions: Registry) -> None:
    former = client()
    with WorkflowEnvironment(functions=own_functions) as outer:
        with WorkflowEnvironment(functions=own_functions) as inner:
            assert client() is inner.client
        assert client() is outer.client
    assert client() is former


def test_bodies_queue_and_run_others(env: WorkflowEnvironment) -> None:
    @workflow
    async def other(x: int) -> int:
        await sleep("1d")
        return x

    @activity
    async def in_async_code() -> int:
        handle = await other.queue(1)
        return await handle.result() + await other.run(2)

    @activity
    def in_a_thread() -> int:
        return other.queue_sync(3).result_sync() + other.run_sync(4)

    @workflow
    async def w() -> int:
        return await in_async_code.run() + await in_a_thread.run()

    assert env.run(w) == 10
    assert env.elapsed == timedelta(days=4)


def test_code_on_another_loop_and_thread_queues_and_signals(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> Any:
        return await wait_for_signal("go")

    ids: list[str] = []

    async def handler() -> None:  # as in the thread that a test client runs an application in
        handle = await w.queue()
        await handle.signal("go", "from afar")
        assert await handle.status() == "pending"
        ids.append(handle.id)

    thread = threading.Thread(target=lambda: asyncio.run(handler()))
    thread.start()
    thread.join(30)
    assert env.handle(ids[0]).result() == "from afar"


def test_workflow_code_cannot_use_the_client(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> str:
        for call in (lambda: client().get_sync("x"), lambda: client().wait_sync("x")):
            with pytest.raises(NotDurableError):
                call()
        try:
            await client().get("x")
        except NotDurableError:
            return "refused"
        return "taken"

    assert env.run(w) == "refused"


# --- the end ------------------------------------------------------------------------------


def test_what_runs_at_the_end_is_cancelled_and_what_waits_is_forgotten(
    own_functions: Registry,
) -> None:
    log: list[str] = []

    @activity
    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("body stopped")

    @workflow
    async def runs() -> None:
        await endless.run()

    @workflow
    async def waits() -> None:
        try:
            await wait_for_signal("never")
        finally:
            log.append("never run")

    with WorkflowEnvironment(functions=own_functions) as env:
        handles = env.start(runs), env.start(waits)
        env.until(lambda: len(env.calls(endless)) == 1)
    assert log == ["body stopped"]
    assert handles[1].status() == "suspended", "what happened can still be looked at"
    with pytest.raises(RuntimeError, match="closed"):
        handles[1].result()


async def test_the_end_in_async_code(own_functions: Registry) -> None:
    log: list[str] = []

    @activity
    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("stopped")

    @workflow
    async def w() -> None:
        await endless.run()

    for sync in (False, True):
        tasks = asyncio.all_tasks()
        environment = WorkflowEnvironment(functions=own_functions)
        if sync:
            with environment as env:
                env.start(w)
                await asyncio.sleep(1)
        else:
            async with environment as env:
                env.start(w)
                await asyncio.sleep(1)
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == tasks
    assert log == ["stopped"], "leaving a plain with in async code is abrupt"


def test_nothing_of_the_tests_context_reaches_bodies(env: WorkflowEnvironment) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    @activity
    async def in_async_code() -> str:
        return variable.get()

    @workflow
    async def w() -> str:
        return variable.get() + await in_async_code.run()

    assert env.run(w) == "unsetunset"  # as in a worker


def test_options_that_make_no_sense_are_refused(own_functions: Registry) -> None:
    with pytest.raises(ValueError, match="aware"):
        WorkflowEnvironment(start=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="prove"):
        WorkflowEnvironment(prove="some")  # type: ignore[arg-type]
    environment = WorkflowEnvironment(start=datetime(2030, 1, 1, tzinfo=UTC))
    assert environment.now().year == 2030
    environment.close()

    @workflow
    async def w() -> None: ...

    with pytest.raises(RuntimeError, match="closed"):
        environment.start(w)


def test_a_body_that_fails_with_the_errors_of_the_library(env: WorkflowEnvironment) -> None:
    @activity(retries=0)
    async def looks() -> Any:
        return await client().get("01900000-0000-7000-8000-000000000000")

    @workflow
    async def w() -> str:
        try:
            await looks.run()
        except ActivityError as error:
            return error.type
        return ""

    assert env.run(w) == "ExecutionNotFound"
    with pytest.raises(workflows.ExecutionNotFound):
        env.client.get_sync("01900000-0000-7000-8000-000000000000")
