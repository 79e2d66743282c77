"""What a workflow may still do when it was cancelled, and how it ends all the same."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from crash_here import Here
from crash_mortal import mortal_saga
from crash_stage import PATIENCE, Stage
from workflows import (
    ExecutionCancelled,
    ExecutionFailed,
    activity,
    shield,
    sleep,
    step,
    workflow,
)

MORTAL = ("-m", "workflows", "worker", "-m", "crash_mortal")


@pytest.fixture(params=[2000, 0], ids=["warm", "cold"])
def warm(request: pytest.FixtureRequest) -> int:
    """Whether suspended workflows stay in memory, or each wake-up is a replay."""
    return request.param


async def test_compensations_run_once_and_in_order_across_a_crash(stage: Stage) -> None:
    """C6: the worker is killed after the first of three; then the workflow is cancelled."""
    handle = await stage.queue(mortal_saga)
    mortal = stage.run("first", *MORTAL)
    await stage.saw("waits", "saga")
    await handle.cancel("rained off")
    assert await stage.exits(mortal) == -signal.SIGKILL, mortal.output
    stage.run("second", *MORTAL)
    with pytest.raises(ExecutionCancelled, match="rained off"):
        await handle.result(PATIENCE)
    did = [(each["event"], each["what"]) for each in stage.entries() if each["event"] != "waits"]
    assert did == [
        *(("did", name) for name in ("flight", "hotel", "car")),
        *(("undid", name) for name in ("car", "hotel", "flight")),
    ]
    assert {each["worker"] for each in stage.entries("undid")} == {"first", "second"}


@pytest.mark.parametrize("means", ["finally", "except", "shield", "group", "timeout"])
async def test_a_second_cancel_does_not_disturb_the_clean_up(here: Here, means: str) -> None:
    """C6: awaits after a cancel run, whatever they are in; more cancels change nothing."""
    undone: list[int] = []
    go = asyncio.Event()

    @activity
    async def undo(n: int) -> int:
        if n == 1:
            await go.wait()
        undone.append(n)
        return n

    async def clean_up() -> None:
        if means == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(undo.run(1))
        elif means == "timeout":
            async with asyncio.timeout(3600):
                await undo.run(1)
        elif means == "shield":
            await shield(undo.run(1))
        else:
            await undo.run(1)
        await undo.run(2)

    @workflow
    async def careful() -> None:
        if means == "finally":
            try:
                await sleep("1h")
            finally:
                await clean_up()
            return
        try:
            await sleep("1h")
        except asyncio.CancelledError:
            await clean_up()
            raise

    await here.work(warm=0)
    handle = await here.suspended(careful)
    assert (await handle.cancel("first"))["changed"]
    await here.recorded(handle, "activity_scheduled")
    for _ in range(3):
        assert not (await handle.cancel("more"))["changed"]
    await here.stage.is_in(handle, "suspended")
    go.set()
    with pytest.raises(ExecutionCancelled, match="first"):
        await handle.result(PATIENCE)
    assert undone == [1, 2]
    assert (await here.stage.types(handle)).count("cancel_requested") == 1


async def test_what_is_shielded_goes_on_and_can_be_waited_for_after_the_cancel(
    here: Here, warm: int
) -> None:
    """C6: as with asyncio.shield."""
    go = asyncio.Event()

    @activity
    async def pays() -> str:
        await go.wait()
        return "paid"

    heard: list[str] = []

    @workflow
    async def careful() -> None:
        payment = pays.run()
        try:
            await shield(payment)
        except asyncio.CancelledError:
            heard.append(await payment)
            raise

    await here.work(warm=warm)
    handle = await here.suspended(careful)
    await handle.cancel()
    await here.recorded(handle, "cancel_requested")
    await here.stage.is_in(handle, "suspended")
    go.set()
    with pytest.raises(ExecutionCancelled):
        await handle.result(PATIENCE)
    assert set(heard) == {"paid"}
    assert "activity_completed" in await here.stage.types(handle)


@pytest.mark.parametrize("swallows", ["returns", "goes on", "raises"])
async def test_a_cancel_that_the_code_swallows_still_ends_cancelled(
    here: Here, swallows: str
) -> None:
    """C6: whatever it answers or raises instead."""

    @workflow
    async def stubborn() -> str:
        try:
            await sleep("1h")
        except asyncio.CancelledError:
            if swallows == "goes on":
                await sleep(0.1)
            if swallows == "raises":
                raise ValueError("instead") from None
        return "a result"

    await here.work()
    handle = await here.suspended(stubborn)
    await handle.cancel()
    with pytest.raises(ExecutionCancelled):
        await handle.result(PATIENCE)
    row = await here.stage.get(handle)
    assert (row["status"], row.get("result")) == ("cancelled", None)


async def test_a_group_that_is_cancelled_from_outside_lets_each_task_clean_up(here: Here) -> None:
    """C6: in the same order in every replay, and CancelledError comes out of it, no group."""
    orders: list[list[int]] = []
    raised: list[str] = []

    @activity
    async def endless(n: int) -> None:
        await asyncio.sleep(3600)

    @activity
    async def undo(n: int) -> int:
        await asyncio.sleep(0.05)
        return n

    @workflow
    async def grouped() -> None:
        order: list[int] = []
        orders.append(order)

        async def branch(n: int) -> None:
            try:
                await endless.run(n)
            finally:
                order.append(n)
                await undo.run(n)

        try:
            async with asyncio.TaskGroup() as group:
                for n in range(8):
                    group.create_task(branch(n))
        except BaseException as error:
            raised.append(type(error).__name__)
            raise

    await here.work(warm=0)
    handle = await here.suspended(grouped)
    await handle.cancel()
    with pytest.raises(ExecutionCancelled):
        await handle.result(PATIENCE)
    full = [order for order in orders if order]
    assert len(full) > 1, "it was replayed"
    assert all(order == full[0] for order in full)
    assert sorted(full[0]) == list(range(8))
    assert set(raised) == {"CancelledError"}
    types = await here.stage.types(handle)
    assert (types.count("activity_cancelled"), types.count("activity_completed")) == (8, 8)


async def test_a_task_that_the_code_cancels_takes_only_its_own_with_it(here: Here) -> None:
    """As in asyncio, with its message; the workflow itself is not cancelled."""
    go = asyncio.Event()

    @activity
    async def gated(name: str) -> str:
        await go.wait()
        return name

    @workflow
    async def chooses() -> list[Any]:
        one = asyncio.create_task(gated.run("one"))
        other = asyncio.create_task(gated.run("other"))
        await sleep(0.05)
        one.cancel("changed my mind")
        try:
            await one
        except asyncio.CancelledError as error:
            return [str(error), one.cancelled(), await other]
        return []

    await here.work(warm=0)
    handle = await here.queue(chooses)
    await here.recorded(handle, "activity_cancelled")
    go.set()
    assert await handle.result(PATIENCE) == ["changed my mind", True, "other"]


async def test_a_workflow_that_raises_cancelled_error_unasked_has_failed(here: Here) -> None:
    """Nobody cancelled it: it may be retried."""

    @workflow
    async def gives_up() -> None:
        raise asyncio.CancelledError("by myself")

    await here.work()
    handle = await here.queue(gives_up)
    with pytest.raises(ExecutionFailed, match="by myself") as failed:
        await handle.result(PATIENCE)
    assert failed.value.type == "CancelledError"


async def test_a_cancel_during_the_last_step_ends_in_one_state(here: Here) -> None:
    """C5: 60 times, before, about when, and after it ends; client and row tell the same."""
    lasts: dict[str, asyncio.Event] = {}
    goes: dict[str, asyncio.Event] = {}

    @step
    async def last(name: str) -> str:
        lasts[name].set()
        await goes[name].wait()
        return name

    @workflow
    async def ends(name: str) -> str:
        return await last.run(name)

    async def race_with(n: int) -> str:
        name = str(n)
        lasts[name], goes[name] = asyncio.Event(), asyncio.Event()
        handle = await here.queue(ends, name)
        await lasts[name].wait()
        if n % 3 == 0:
            changed = (await handle.cancel())["changed"]
            goes[name].set()
        else:
            goes[name].set()
            if n % 3 == 1:
                await asyncio.sleep(n % 20 / 2000)
            else:
                await handle.result(PATIENCE)
            changed = (await handle.cancel())["changed"]
        told = await here.stage.client.wait(handle.id, PATIENCE)
        assert told["status"] == ("cancelled" if changed else "completed"), "as it was promised"
        assert told.get("result") == (None if changed else name)
        again = await handle.cancel()
        assert again == {"status": told["status"], "changed": False}
        assert await here.stage.get(handle) == told
        return told["status"]

    await here.work(concurrency=20)
    statuses = await asyncio.gather(*(race_with(n) for n in range(60)))
    assert set(statuses[0::3]) == {"cancelled"}
    assert set(statuses[2::3]) == {"completed"}
