"""Cancelling: who hears of it, when, and what may be done about it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from crash_here import Here
from crash_stage import MARGIN, PATIENCE
from workflows import (
    ActivityCancelled,
    ExecutionCancelled,
    activity,
    cancelled,
    gather,
    job,
    race,
    shield,
    sleep,
    step,
    wait_for_signal,
    workflow,
)

BEAT = 0.5


class Heard:
    """When bodies began, and when they heard that they are to stop."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.at: dict[str, float] = {}
        self.stop = threading.Event()

    async def on_the_loop(self, name: str) -> str:
        self.began.release()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.at[name] = time.monotonic()
            assert cancelled()
        return f"late {name}"  # swallowed, as users do

    def in_a_thread(self, name: str) -> str:
        self.began.release()
        while not cancelled() and not self.stop.wait(0.005):
            pass
        self.at[name] = time.monotonic()
        return f"late {name}"

    @contextmanager
    def released(self) -> Generator[None]:
        """No thread is left behind, also when the test fails."""
        try:
            yield
        finally:
            self.stop.set()

    async def all_began(self, here: Here, count: int) -> None:
        for _ in range(count):
            await here.stage.until(lambda: self.began.acquire(blocking=False), "a body to begin")


# --- activities and jobs --------------------------------------------------------------------


async def test_a_running_job_learns_of_a_cancel_within_a_heartbeat_and_its_result_is_dropped(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C2: async and sync, though no notification tells them, and no poll does so soon."""
    heard = Heard()

    @job
    async def on_the_loop() -> str:
        return await heard.on_the_loop("async")

    @job
    def in_a_thread() -> str:
        return heard.in_a_thread("sync")

    handles = [await here.queue(on_the_loop), await here.queue(in_a_thread)]
    monkeypatch.setenv("WORKFLOWS_LISTEN_URL", "off")
    await here.work(heartbeat_interval=BEAT, poll_interval=60)
    with heard.released():
        await heard.all_began(here, 2)
        asked = time.monotonic()
        for handle in handles:
            assert await handle.cancel("no more") == {"status": "running", "changed": True}
        await here.stage.until(lambda: len(heard.at) == 2, "both to hear of it")
    assert max(heard.at.values()) - asked < BEAT + MARGIN
    for handle in handles:
        with pytest.raises(ExecutionCancelled):
            await handle.result(PATIENCE)
        assert "result" not in await here.stage.get(handle)


async def test_running_activities_learn_of_the_cancel_of_their_workflow_within_a_heartbeat(
    here: Here,
) -> None:
    """C2: no poll tells them so soon; what they answer all the same is dropped."""
    heard = Heard()

    @activity
    async def on_the_loop() -> str:
        return await heard.on_the_loop("async")

    @activity
    def in_a_thread() -> str:
        return heard.in_a_thread("sync")

    @workflow
    async def parent() -> None:
        await gather(on_the_loop.run(), in_a_thread.run())

    await here.work(heartbeat_interval=BEAT, poll_interval=60)
    handle = await here.queue(parent)
    with heard.released():
        await heard.all_began(here, 2)
        await here.stage.is_in(handle, "suspended")
        asked = time.monotonic()
        await handle.cancel("no more")
        await here.stage.until(lambda: len(heard.at) == 2, "both to hear of it")
    assert max(heard.at.values()) - asked < BEAT + MARGIN
    for each in (handle, *map(here.handle, await here.children(handle))):
        await here.stage.is_in(each, "cancelled")
        assert "result" not in await here.stage.get(each)
    assert "activity_completed" not in await here.stage.types(handle)


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_a_cancel_reaches_an_activity_that_holds_the_only_slot(
    here: Here, is_async: bool
) -> None:
    """C2: its workflow, which cancels it, needs none; and the slot is free for others after it."""
    heard = Heard()

    @activity
    async def on_the_loop() -> str:
        return await heard.on_the_loop("activity")

    @activity
    def in_a_thread() -> str:
        return heard.in_a_thread("activity")

    @workflow
    async def parent() -> None:
        await (on_the_loop if is_async else in_a_thread).run()

    @job
    async def behind() -> str:
        return "served"

    await here.work(concurrency=1, poll_interval=60)
    handle = await here.queue(parent)
    with heard.released():
        await heard.all_began(here, 1)
        waits = await here.queue(behind)
        await handle.cancel()
        await here.stage.until(lambda: "activity" in heard.at, "the activity to hear of it")
    with pytest.raises(ExecutionCancelled):
        await handle.result(PATIENCE)
    assert await waits.result(PATIENCE) == "served"


async def test_an_activity_that_waits_for_its_next_attempt_is_cancelled_at_once(here: Here) -> None:
    """C1: nothing of it runs any more."""
    ran: list[int] = []

    @activity(initial="1h", max="1h")
    async def fails() -> None:
        ran.append(1)
        raise ValueError

    @workflow
    async def parent() -> str:
        try:
            await fails.run()
        except ActivityCancelled as error:
            return error.message
        return ""

    await here.work()
    handle = await here.suspended(parent)
    [child] = [here.handle(each) for each in await here.children(handle)]
    await here.stage.is_in(child, "scheduled")
    assert await child.cancel("enough") == {"status": "cancelled", "changed": True}
    assert (await handle.result(PATIENCE)).endswith("enough")
    assert ran == [1]


# --- children -------------------------------------------------------------------------------


async def test_a_cancel_reaches_children_and_grandchildren_and_spares_the_detached(
    here: Here,
) -> None:
    """C3: each level may clean up, and the body at the bottom is told."""
    heard = Heard()
    cleaned: list[str] = []

    @activity
    async def bottom() -> None:
        await heard.on_the_loop("bottom")

    @workflow
    async def detached() -> str:
        return await wait_for_signal("go on", str)

    @workflow
    async def level(n: int) -> None:
        try:
            if n == 0:
                await bottom.run()
            else:
                await detached.options(close_policy="detach").queue()
                await level.run(n - 1)
        finally:
            await sleep(0)
            cleaned.append(f"level {n}")

    await here.work(warm=0)
    handle = await here.queue(level, 2)
    await heard.all_began(here, 1)
    page = await here.stage.client.list(root_id=handle.id)
    family = {each["id"]: each for each in page["executions"]}
    assert len(family) == 3 + 2 + 1
    await handle.cancel()
    await here.stage.until(lambda: "bottom" in heard.at, "the bottom to hear of it")
    for each in family.values():
        spared = each["name"] == detached.name
        await here.stage.is_in(here.handle(each), "suspended" if spared else "cancelled")
        if spared:
            await here.handle(each).signal("go on", "alone")
            assert await here.handle(each).result(PATIENCE) == "alone"
    assert set(cleaned) == {"level 0", "level 1", "level 2"}


# --- where a workflow may be ----------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    ["activity", "child", "signal", "timer", "step", "gather", "race", "group", "task", "shield"],
)
async def test_a_cancel_is_raised_at_the_await_whatever_is_awaited(here: Here, where: str) -> None:
    """C6: as CancelledError, with the reason; no `except Exception` sees it."""
    told: list[str] = []

    @activity
    async def endless() -> None:
        await asyncio.sleep(3600)

    @step
    async def endless_step() -> None:
        await asyncio.sleep(3600)

    @workflow
    async def child() -> None:
        await sleep("1h")

    async def group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(endless.run())
            group.create_task(child.run())

    awaited: dict[str, Callable[[], Awaitable[Any]]] = {
        "activity": endless.run,
        "child": child.run,
        "signal": lambda: wait_for_signal("never", timeout="1h"),
        "timer": lambda: sleep("1h"),
        "step": endless_step.run,
        "gather": lambda: gather(endless.run(), child.run()),
        "race": lambda: race(a=endless.run(), b=child.run(), c=sleep("1h")),
        "group": group,
        "task": lambda: asyncio.create_task(group()),
        "shield": lambda: shield(endless.run()),
    }

    @workflow
    async def waits() -> None:
        try:
            await awaited[where]()
        except Exception as error:
            told.append(repr(error))
        except asyncio.CancelledError as error:
            told.append(str(error))
            raise

    await here.work()
    handle = await here.queue(waits)
    await here.stage.is_in(handle, "running" if where == "step" else "suspended")
    assert (await handle.cancel("out of stock"))["changed"]
    with pytest.raises(ExecutionCancelled, match="out of stock"):
        await handle.result(PATIENCE)
    assert set(told) == {"out of stock"}
    for each in map(here.handle, await here.children(handle)):
        await here.stage.is_in(each, "cancelled")


async def test_a_cancel_reaches_a_workflow_that_nobody_serves_just_now(here: Here) -> None:
    """C6: woken, but no worker was free; suspended, with its worker gone."""
    told: list[str] = []

    @workflow
    async def waits() -> None:
        try:
            await wait_for_signal("go on")
            await sleep("1h")
        except asyncio.CancelledError as error:
            told.append(str(error))
            raise

    worker = await here.work()
    woken, asleep = await here.suspended(waits), await here.suspended(waits)
    await here.dismiss(worker)
    await woken.signal("go on")
    await here.stage.is_in(woken, "pending")
    for handle in (woken, asleep):
        assert await handle.cancel("closed") == {"status": "pending", "changed": True}
    await here.work()
    for handle in (woken, asleep):
        with pytest.raises(ExecutionCancelled, match="closed"):
            await handle.result(PATIENCE)
    assert told == ["closed", "closed"]


async def test_a_parked_workflow_is_cancelled_at_once(here: Here) -> None:
    """C1: its code does not fit its history, so it cannot be asked to clean up."""
    here.replays = False  # nor can it be replayed
    code = ["first"]

    @activity
    async def one() -> None: ...

    @activity
    async def other() -> None: ...

    @workflow
    async def changes() -> None:
        await (one if code[-1] == "first" else other).run()
        await wait_for_signal("go on")

    await here.work(warm=0)
    handle = await here.queue(changes)
    await here.recorded(handle, "activity_completed")
    await here.stage.is_in(handle, "suspended")
    code.append("second")
    await handle.signal("go on")

    async def is_parked() -> bool:
        return "parked" in await here.stage.get(handle)

    await here.stage.becomes(is_parked, True)
    assert await handle.cancel("not worth it") == {"status": "cancelled", "changed": True}
    with pytest.raises(ExecutionCancelled, match="not worth it"):
        await handle.result(PATIENCE)


async def test_a_cancel_while_the_code_itself_is_busy_is_heard_at_its_next_wait(here: Here) -> None:
    """C6: the code holds up the worker's loop meanwhile."""
    told: list[str] = []
    busy, asked = threading.Event(), threading.Event()

    @workflow
    async def computes() -> None:
        busy.set()
        assert asked.wait(PATIENCE)
        try:
            await sleep("1h")
        except asyncio.CancelledError as error:
            told.append(str(error))
            raise

    handle = await here.queue(computes)

    def cancel() -> Any:
        try:
            assert busy.wait(PATIENCE)
            return here.stage.client.cancel_sync(handle.id, "stop")
        finally:
            asked.set()

    cancelling = asyncio.create_task(asyncio.to_thread(cancel))
    await here.work()
    assert await cancelling == {"status": "running", "changed": True}
    with pytest.raises(ExecutionCancelled, match="stop"):
        await handle.result(PATIENCE)
    assert set(told) == {"stop"}


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_a_cancel_reaches_the_step_that_runs(here: Here, is_async: bool) -> None:
    """C2: within a heartbeat; its outcome is not recorded, and the workflow may clean up."""
    heard = Heard()
    undone: list[str] = []

    @step
    async def on_the_loop() -> str:
        return await heard.on_the_loop("step")

    @step
    def in_a_thread() -> str:
        return heard.in_a_thread("step")

    @activity
    async def undo() -> None:
        undone.append("undone")

    @workflow
    async def steps() -> None:
        try:
            await (on_the_loop if is_async else in_a_thread).run()
        finally:
            await undo.run()

    await here.work(heartbeat_interval=BEAT, poll_interval=60)
    handle = await here.queue(steps)
    with heard.released():
        await heard.all_began(here, 1)
        asked = time.monotonic()
        await handle.cancel()
        await here.stage.until(lambda: "step" in heard.at, "the step to hear of it")
    assert heard.at["step"] - asked < BEAT + MARGIN
    with pytest.raises(ExecutionCancelled):
        await handle.result(PATIENCE)
    assert "step_completed" not in await here.stage.types(handle)
    assert undone == ["undone"]


# --- terminate ------------------------------------------------------------------------------


async def test_terminate_ends_at_once_and_lets_nothing_clean_up(here: Here) -> None:
    """C3: its activities and children are cancelled, and those may."""
    heard = Heard()
    cleaned: list[str] = []

    @activity
    async def runs() -> None:
        await heard.on_the_loop("activity")

    @workflow
    async def child() -> None:
        try:
            await sleep("1h")
        finally:
            cleaned.append("child")

    @workflow
    async def parent() -> None:
        try:
            await gather(runs.run(), child.run())
        finally:
            cleaned.append("parent")

    await here.work()
    handle = await here.queue(parent)
    await heard.all_began(here, 1)
    await here.stage.is_in(handle, "suspended")
    assert await handle.terminate("now") == {"status": "cancelled", "changed": True}
    with pytest.raises(ExecutionCancelled, match="now"):
        await handle.result(PATIENCE)
    for each in map(here.handle, await here.children(handle)):
        await here.stage.is_in(each, "cancelled")
    await here.stage.until(lambda: "activity" in heard.at, "the activity to be told")
    assert cleaned == ["child"]
    assert "cancel_requested" not in await here.stage.types(handle)


async def test_a_terminated_job_loses_its_lease_and_its_body_is_told(here: Here) -> None:
    """C2: within a heartbeat; what it still answers is refused."""
    heard = Heard()

    @job
    async def runs() -> str:
        return await heard.on_the_loop("job")

    await here.work(heartbeat_interval=BEAT, poll_interval=60)
    handle = await here.queue(runs)
    await heard.all_began(here, 1)
    asked = time.monotonic()
    assert await handle.terminate("now") == {"status": "cancelled", "changed": True}
    await here.stage.until(lambda: "job" in heard.at, "the body to be told")
    assert heard.at["job"] - asked < BEAT + MARGIN
    with pytest.raises(ExecutionCancelled, match="now"):
        await handle.result(PATIENCE)
