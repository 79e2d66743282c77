"""Handles in an environment: signals, ends and children, now and later."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, assert_type

import pytest
from workflows import (
    ChildCancelled,
    ChildFailed,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionFinished,
    InvalidState,
    PayloadError,
    activity,
    gather,
    send_signal,
    set_state,
    sleep,
    wait_for_signal,
    workflow,
)
from workflows.testing import EnvironmentHandle, WorkflowEnvironment


def test_signals_now_later_and_when_something_holds(env: WorkflowEnvironment) -> None:
    @activity
    async def prepares() -> None:
        await asyncio.sleep(60)

    @workflow
    async def w() -> list[Any]:
        set_state("preparing")
        await prepares.run()
        set_state("ready")
        return [await wait_for_signal("s") for _ in range(4)]

    handle = env.start(w)
    assert handle.signal("s", 1) == {"delivered": True}
    assert handle.signal("s", 2, after="1h") is None
    handle.signal("s", 3, when=lambda: handle.get_state() == "ready")
    handle.signal("s", 4, after="1m", when=lambda: handle.waits_for("s"))
    assert handle.result() == [1, 3, 4, 2]
    assert env.elapsed == timedelta(hours=1)
    at = [e["at"][11:19] for e in handle.history() if e["type"] == "signal_received"]
    assert at == ["00:00:00", "00:01:00", "00:02:00", "01:00:00"]


def test_a_signal_with_a_key_comes_once(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> list[Any]:
        return [await wait_for_signal("s") for _ in range(2)]

    handle = env.start(w)
    sent = [handle.signal("s", n, key="key") for n in (1, 2)]
    handle.signal("s", 3, after=1)
    assert sent == [{"delivered": True}, {"delivered": False}]
    assert handle.result() == [1, 3]
    assert handle.signal("s", 4, key="key") == {"delivered": False}
    with pytest.raises(ExecutionFinished):
        handle.signal("s", 5)
    with pytest.raises(PayloadError):
        handle.signal("s", {1})


def test_a_signal_that_comes_too_late_fails_the_test(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> None:
        await sleep("1h")

    handle = env.start(w)
    handle.signal("s", after="2h")
    assert handle.result() is None
    with pytest.raises(ExecutionFinished):
        env.skip("3h")


def test_workflows_and_activities_signal_each_other(env: WorkflowEnvironment) -> None:
    @activity
    async def answers(id: str) -> None:
        await send_signal(id, "answer", "from an activity")

    @workflow
    async def ping(id: str) -> None:
        await send_signal(id, "ball", 1)

    @workflow
    async def pong() -> list[Any]:
        return [await wait_for_signal("ball"), await wait_for_signal("answer")]

    handle = env.start(pong)
    env.run(ping, handle.id)
    env.run(answers, handle.id)
    assert handle.result() == [1, "from an activity"]


def test_a_cancel_lets_the_workflow_clean_up_and_a_termination_does_not(
    env: WorkflowEnvironment,
) -> None:
    undone: list[str] = []

    @activity
    async def undo(name: str) -> None:
        undone.append(name)

    @activity
    async def endless(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            undone.append(f"body of {name}")

    @workflow
    async def w(name: str) -> None:
        try:
            await gather(endless.run(name), sleep("1d"))
        except asyncio.CancelledError:
            await undo.run(name)
            raise

    first, second = env.start(w, "first"), env.start(w, "second")
    first.cancel(after="1h")
    second.terminate("enough", when=lambda: first.status() == "cancelled")
    for handle in (first, second):
        with pytest.raises(ExecutionCancelled):
            handle.result()
    assert first.cancel() == {"status": "cancelled", "changed": False}
    env.skip()
    assert sorted(undone) == ["body of first", "body of second", "first"]
    assert env.elapsed == timedelta(hours=1)


def test_children_have_handles(env: WorkflowEnvironment) -> None:
    @activity
    async def work(n: int) -> int:
        return n

    @workflow
    async def child(n: int) -> str:
        set_state(n)
        return f"{n} {await wait_for_signal('go')}"

    @workflow
    async def parent() -> list[Any]:
        detached = await child.options(close_policy="detach").queue(9)
        found: list[Any] = [await work.run(0)]
        for n in range(1, 4):
            try:
                found.append(await child.run(n))
            except (ChildCancelled, ChildFailed) as error:
                found.append(type(error).__name__)
        return [*found, detached.id]

    handle = env.start(parent)
    env.skip()
    one = handle.child(child, nth=2)
    assert_type(one, EnvironmentHandle[str])
    assert (one.get_state(), one.status()) == (1, "suspended")
    one.signal("go", "on")
    env.skip()
    handle.child(child.name, nth=3).cancel()
    env.skip()
    handle.child(child, nth=4).terminate()
    detached = handle.child(child)
    assert handle.result() == [0, "1 on", "ChildCancelled", "ChildCancelled", detached.id]
    assert detached.status() == "suspended"
    detached.signal("go", "alone")
    assert detached.result() == "9 alone"
    assert [each.execution()["name"] for each in handle.children()][1] == work.name
    with pytest.raises(LookupError, match="has started 4 of"):
        handle.child(child, nth=5)


def test_what_failed_is_retried_from_its_history(env: WorkflowEnvironment) -> None:
    ran: list[str] = []

    @activity(retries=0)
    async def good() -> int:
        ran.append("good")
        return 1

    @activity(retries=0)
    async def bad() -> int:
        ran.append("bad")
        if len(ran) < 3:
            raise ValueError("no")
        return 2

    @workflow
    async def w() -> int:
        return await good.run() + await bad.run()

    handle = env.start(w)
    with pytest.raises(ExecutionFailed):
        handle.result()
    assert handle.retry() == {"status": "pending", "changed": True}
    assert handle.result() == 3
    assert ran == ["good", "bad", "bad"]
    assert handle.run == 2
    with pytest.raises(InvalidState):
        handle.retry()
