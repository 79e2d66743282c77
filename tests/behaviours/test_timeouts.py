"""Time limits around whatever a workflow awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import workflows
from crash_here import Here
from crash_stage import PATIENCE
from workflows import (
    activity,
    gather,
    shield,
    sleep,
    step,
    wait_for_signal,
    workflow,
)

Limit = Callable[[float], asyncio.Timeout]


@pytest.fixture(params=[asyncio.timeout, workflows.timeout], ids=["asyncio", "workflows"])
def limit(request: pytest.FixtureRequest) -> Limit:
    """Either way to limit the time of a block."""
    return request.param


@pytest.mark.parametrize(
    "what", ["activity", "step", "child", "signal", "gather", "group", "timer"]
)
async def test_a_timeout_ends_whatever_is_awaited_in_it(
    here: Here, limit: Limit, what: str
) -> None:
    """It is cancelled, all of it, and the workflow goes on."""

    @activity
    async def endless() -> None:
        await asyncio.sleep(3600)

    @step
    async def endless_step() -> None:
        await asyncio.sleep(3600)

    @workflow
    async def endless_child() -> None:
        await sleep("1h")

    async def group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(endless.run())
            group.create_task(endless_child.run())

    awaited: dict[str, Callable[[], Awaitable[Any]]] = {
        "activity": endless.run,
        "step": endless_step.run,
        "child": endless_child.run,
        "signal": lambda: wait_for_signal("never"),
        "gather": lambda: gather(endless.run(), endless_child.run(), sleep("1h")),
        "group": group,
        "timer": lambda: sleep("1h"),
    }

    @workflow
    async def limited() -> float:
        began = workflows.now()
        try:
            async with limit(0.2):
                await awaited[what]()
        except TimeoutError:
            took = workflows.now() - began
            await wait_for_signal("go on")
            return took.total_seconds()
        return 0

    await here.work()
    handle = await here.queue(limited)
    await here.recorded(handle, "timer_fired")
    await here.stage.is_in(handle, "suspended")
    children = await here.children(handle)
    await here.ended(handle, len(children))
    for child in children:
        await here.stage.is_in(here.handle(child), "cancelled")
    await handle.signal("go on")
    assert await handle.result(PATIENCE) >= 0.2
    types = await here.stage.types(handle)
    started = {"activity": 1, "child": 1, "gather": 2, "group": 2}.get(what, 0)
    assert sum(each in ("activity_cancelled", "child_cancelled") for each in types) == started
    assert types.count("timer_cancelled") == (what in ("gather", "timer"))


async def test_the_innermost_timeout_whose_time_is_up_raises(here: Here, limit: Limit) -> None:
    """Nested, in both orders; the other timer is cancelled."""

    @workflow
    async def nested(outer: float, inner: float) -> list[str]:
        heard: list[str] = []
        try:
            async with limit(outer):
                try:
                    async with limit(inner):
                        await sleep("1h")
                except TimeoutError:
                    heard.append("inner")
                heard.append("between")
        except TimeoutError:
            heard.append("outer")
        return heard

    await here.work()
    inner, outer = await here.queue(nested, 3600, 0.1), await here.queue(nested, 0.1, 3600)
    assert await inner.result(PATIENCE) == ["inner", "between"]
    assert await outer.result(PATIENCE) == ["outer"]
    for handle in (inner, outer):
        types = await here.stage.types(handle)
        assert [types.count(f"timer_{end}") for end in ("started", "fired", "cancelled")] == [
            3,
            1,
            2,
        ]


async def test_a_timeout_that_is_up_already_ends_the_first_wait(here: Here, limit: Limit) -> None:
    """As in asyncio; what was asked for in it never starts."""
    ran: list[int] = []

    @activity
    async def never() -> None:
        ran.append(1)

    @workflow
    async def hurried() -> str:
        try:
            async with limit(0):
                await never.run()
        except TimeoutError:
            return "late"
        return "in time"

    await here.work()
    handle = await here.queue(hurried)
    assert await handle.result(PATIENCE) == "late"
    assert await here.stage.types(handle) == ["started"]
    assert not ran


@pytest.mark.parametrize("first", ["completion", "timer"])
async def test_of_a_completion_and_a_timeout_in_one_batch_the_first_recorded_counts(
    here: Here, first: str
) -> None:
    """Nobody serves the workflow while both happen; it hears of both in one claim."""
    go = asyncio.Event()
    heard: list[str] = []

    @activity(queue="activities")
    async def gated() -> str:
        await go.wait()
        return "in time"

    @workflow
    async def limited() -> str:
        try:
            async with asyncio.timeout(1):
                heard.append(await gated.run())
        except TimeoutError:
            heard.append("late")
        last = heard[-1]
        return f"{last} {await wait_for_signal('go on')}"

    await here.work("activities")
    worker = await here.work()
    handle = await here.suspended(limited)
    await here.dismiss(worker)
    if first == "completion":
        go.set()
        await here.recorded(handle, "activity_completed")
    await here.recorded(handle, "timer_fired")
    go.set()
    await here.recorded(handle, "activity_completed")
    await here.work(warm=0)
    await here.stage.is_in(handle, "suspended")
    await handle.signal("go on", "and on")
    answer = "in time" if first == "completion" else "late"
    assert await handle.result(PATIENCE) == f"{answer} and on"
    assert set(heard) == {answer}
    types = await here.stage.types(handle)
    assert "activity_cancelled" not in types
    assert "timer_cancelled" not in types


async def test_what_is_shielded_outlives_the_timeout_around_its_wait(
    here: Here, limit: Limit
) -> None:
    go = asyncio.Event()

    @activity
    async def gated() -> str:
        await go.wait()
        return "done"

    @workflow
    async def patient() -> list[str]:
        call = gated.run()
        heard: list[str] = []
        try:
            async with limit(0.1):
                heard.append(await shield(call))
        except TimeoutError:
            heard.append("not yet")
        return [*heard, await call]

    await here.work(warm=0)
    handle = await here.queue(patient)
    await here.recorded(handle, "timer_fired")
    await here.stage.is_in(handle, "suspended")
    go.set()
    assert await handle.result(PATIENCE) == ["not yet", "done"]


async def test_a_timeout_can_be_rescheduled(here: Here, limit: Limit) -> None:
    """Later, sooner, and never; each time its timer is another one."""

    @workflow
    async def reschedules() -> list[Any]:
        loop, heard = asyncio.get_running_loop(), list[Any]()
        began = workflows.now()
        async with limit(0.05) as later:
            later.reschedule(loop.time() + 3600)
            await sleep(0.2)
        heard.append(later.expired())
        sooner = limit(3600)
        try:
            async with sooner:
                sooner.reschedule(loop.time() + 0.1)
                await sleep("1h")
        except TimeoutError:
            heard.append(sooner.expired())
        async with limit(0.05) as never:
            never.reschedule(None)
            await sleep(0.2)
        return [*heard, never.expired(), (workflows.now() - began).total_seconds() < PATIENCE]

    await here.work(warm=0)
    handle = await here.queue(reschedules)
    assert await handle.result(PATIENCE) == [False, True, False, True]
    types = await here.stage.types(handle)
    assert types.count("timer_fired") == 3


async def test_a_wait_for_a_signal_that_timed_out_leaves_the_signal_to_the_next(
    here: Here, limit: Limit
) -> None:
    @workflow
    async def waits() -> list[str]:
        heard: list[str] = []
        try:
            async with limit(0.1):
                heard.append(await wait_for_signal("word", str))
        except TimeoutError:
            heard.append("none yet")
        return [*heard, await wait_for_signal("word", str)]

    await here.work(warm=0)
    handle = await here.queue(waits)
    await here.recorded(handle, "timer_fired")
    await here.stage.is_in(handle, "suspended")
    await handle.signal("word", "hello")
    assert await handle.result(PATIENCE) == ["none yet", "hello"]
