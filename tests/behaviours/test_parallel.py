"""Several things at once: gather, race, wait, groups and timeouts, live and on replay."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from crash_here import Here
from crash_stage import PATIENCE
from workflows import (
    ActivityError,
    ExecutionFailed,
    activity,
    as_completed,
    gather,
    race,
    shield,
    sleep,
    wait,
    wait_for_signal,
    workflow,
)

Gates = dict[str, asyncio.Event]


@pytest.fixture(params=[2000, 0], ids=["warm", "cold"])
def warm(request: pytest.FixtureRequest) -> int:
    """Whether suspended workflows stay in memory, or each wake-up is a replay."""
    return request.param


def gates(names: str) -> Gates:
    return {name: asyncio.Event() for name in names}


# --- gather -------------------------------------------------------------------------------


async def test_gathering_nothing_returns_at_once(here: Here) -> None:
    """G6: nothing is recorded for it."""

    @workflow
    async def nothing() -> list[Any]:
        return [*await gather(), *await gather(return_exceptions=True)]

    await here.work()
    handle = await here.queue(nothing)
    assert await handle.result(PATIENCE) == []
    assert await here.stage.types(handle) == ["started"]


async def test_500_gathered_activities_finish_on_a_worker_with_one_slot(here: Here) -> None:
    """G6: each runs once, one after the other."""
    ran: list[int] = []
    running: list[int] = []

    @activity
    async def square(n: int) -> int:
        running.append(n)
        assert len(running) == 1
        await asyncio.sleep(0)
        running.remove(n)
        ran.append(n)
        return n * n

    @workflow
    async def squares() -> list[int]:
        return await gather(*(square.run(n) for n in range(500)))

    await here.work(concurrency=1)
    assert await here.result(squares) == [n * n for n in range(500)]
    assert sorted(ran) == list(range(500))


async def test_3000_branches_finish_on_one_worker_in_argument_order(here: Here) -> None:
    """G1, G6: with 50 at a time; their order of ending is another."""
    ran: list[int] = []

    @activity
    async def ends_later(n: int) -> int:
        await asyncio.sleep(random.random() / 50)
        ran.append(n)
        return n

    @workflow
    async def many() -> list[int]:
        return await gather(*(ends_later.run(n) for n in range(3000)))

    await here.work(concurrency=50)
    assert await here.result(many) == list(range(3000))
    assert sorted(ran) == list(range(3000))
    assert ran != list(range(3000))


async def test_100_tasks_share_a_semaphore_and_a_group(here: Here) -> None:
    """G1: asyncio's own means are enough to limit the branches of a workflow."""
    most = 0

    @activity
    async def one(n: int) -> int:
        return n

    @workflow
    async def limited() -> int:
        nonlocal most
        free, open_ones = asyncio.Semaphore(20), 0

        async def branch(n: int) -> int:
            nonlocal most, open_ones
            async with free:
                open_ones += 1
                most = max(most, open_ones)
                result = await one.run(2 * n) - await one.run(n)
                open_ones -= 1
                return result

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(branch(n)) for n in range(100)]
        return sum(task.result() for task in tasks)

    await here.work(concurrency=50)
    assert await here.result(limited) == sum(range(100))
    assert most == 20


async def test_completions_are_replayed_in_the_order_in_which_they_came(here: Here) -> None:
    """G2: each replay sees a beginning of the last one's order, and as_completed the same."""
    orders: list[list[int]] = []

    @activity
    async def ends_somewhen(n: int) -> int:
        await asyncio.sleep(random.random() / 5)
        return n

    @workflow
    async def ordered() -> list[list[int]]:
        order: list[int] = []
        orders.append(order)

        async def one(n: int) -> int:
            got = await ends_somewhen.run(n)
            order.append(got)
            return got

        answered = await gather(*(one(n) for n in range(30)))
        again = [ends_somewhen.run(n) for n in range(30)]
        return [answered, [each.result() async for each in as_completed(again)]]

    await here.work(warm=0, concurrency=30)
    answered, again = await here.result(ordered)
    assert answered == list(range(30))
    assert sorted(again) == answered
    assert len(orders) > 1, "it was replayed"
    assert all(order == orders[-1][: len(order)] for order in orders)


async def test_of_several_failures_the_same_one_surfaces_live_and_on_replay(here: Here) -> None:
    """G3: the first that was recorded; the others go on, and end without a word."""
    go = gates("abc")
    surfaced: list[str] = []

    @activity(retries=0)
    async def fails(name: str) -> None:
        await go[name].wait()
        raise ValueError(name)

    @workflow
    async def first() -> str:
        try:
            await gather(*(fails.run(name) for name in "abc"))
        except ActivityError as error:
            surfaced.append(error.message)
            await wait_for_signal("go on")
            return error.message
        return "none"

    await here.work(warm=0)
    handle = await here.suspended(first)
    for count, name in enumerate("bca", 1):
        go[name].set()
        await here.ended(handle, count)
    await here.stage.is_in(handle, "suspended")
    await handle.signal("go on")
    assert await handle.result(PATIENCE) == "b"
    assert len(surfaced) > 1, "it was replayed"
    assert set(surfaced) == {"b"}


async def test_return_exceptions_answers_every_failure_in_its_place(here: Here, warm: int) -> None:
    """G3."""

    @activity(retries=0)
    async def perhaps(n: int) -> int:
        if n % 2:
            raise KeyError(n)
        return n

    @workflow
    async def everything() -> list[Any]:
        got = await gather(*(perhaps.run(n) for n in range(5)), return_exceptions=True)
        return [
            [each.type, each.message] if isinstance(each, ActivityError) else each for each in got
        ]

    await here.work(warm=warm)
    assert await here.result(everything) == [0, ["KeyError", "1"], 2, ["KeyError", "3"], 4]


async def test_the_failures_of_a_group_come_as_an_exception_group(here: Here, warm: int) -> None:
    """G3, C8: the first cancels the others; uncaught, the chain of causes is kept."""
    cancelled: list[str] = []

    @activity(retries=0)
    async def fails() -> None:
        raise LookupError("not there")

    @activity
    async def endless() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.append("endless")

    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(endless.run())
            group.create_task(fails.run())

    @workflow
    async def catches() -> list[str]:
        found: list[str] = []
        try:
            await grouped()
        except* ActivityError as errors:
            found += [f"{type(each).__name__} of {each}" for each in errors.exceptions]
        return found

    @workflow
    async def does_not() -> None:
        await grouped()

    await here.work(warm=warm)
    assert await here.result(catches) == ["ActivityError of LookupError: not there"]
    with pytest.raises(ExecutionFailed) as failed:
        await here.result(does_not)
    assert failed.value.type == "ExceptionGroup"
    causes = [failed.value.__cause__]
    while causes[-1] is not None:
        causes.append(causes[-1].__cause__)
    assert [str(each) for each in causes[1:-1]] == [
        "ActivityError: LookupError: not there",
        "LookupError: not there",
    ]
    await here.stage.until(lambda: len(cancelled) in (0, 2), "what has begun to be cancelled")


# --- first of several ---------------------------------------------------------------------


async def test_the_loser_of_a_race_is_cancelled_once_and_its_late_result_ignored(
    here: Here,
) -> None:
    """G5: first of an activity and a sleep; the activity does not let itself be stopped."""
    late, told = asyncio.Event(), asyncio.Event()

    @activity
    async def stubborn() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            told.set()
        await late.wait()
        return "too late"

    @workflow
    async def first_of() -> list[Any]:
        name, _ = await race(work=stubborn.run(), patience=sleep("100ms"))
        return [name, await wait_for_signal("go on")]

    await here.work(warm=0)
    handle = await here.queue(first_of)
    await asyncio.wait_for(told.wait(), PATIENCE)
    late.set()
    [loser] = await here.children(handle)
    await here.stage.is_in(here.handle(loser), "cancelled")
    await here.stage.is_in(handle, "suspended")
    await handle.signal("go on", 1)
    assert await handle.result(PATIENCE) == ["patience", 1]
    types = await here.stage.types(handle)
    assert types.count("activity_cancelled") == types.count("timer_fired") == 1
    assert "activity_completed" not in types
    assert "result" not in (await here.children(handle))[0]


async def test_the_timer_that_loses_is_cancelled_once_and_never_fires(here: Here) -> None:
    """G5: the other way round."""

    @activity
    async def quick() -> str:
        return "done"

    @workflow
    async def first_of() -> list[Any]:
        winner = await race(patience=sleep("300ms"), work=quick.run())
        await sleep("500ms")
        return list(winner)

    await here.work(warm=0)
    handle = await here.queue(first_of)
    assert await handle.result(PATIENCE) == ["work", "done"]
    events = await here.stage.client.history(handle.id)
    ends = [(each["type"], each.get("sequence")) for each in events if "timer_" in each["type"]]
    assert ends == [
        ("timer_started", 1),
        ("timer_cancelled", 1),
        ("timer_started", 3),
        ("timer_fired", 3),
    ]


async def test_a_race_is_decided_though_bodies_hold_every_slot(here: Here) -> None:
    """G5: or what it is to cancel would hold them for ever; no more bodies run than slots."""
    running: list[int] = []
    most = 0

    @activity
    async def endless(n: int) -> None:
        nonlocal most
        running.append(n)
        most = max(most, len(running))
        try:
            await asyncio.sleep(3600)
        finally:
            running.remove(n)

    @workflow
    async def first_of(n: int) -> str:
        name, _ = await race(work=endless.run(n), patience=sleep("200ms"))
        return name

    await here.work(concurrency=2, poll_interval=60)
    handles = [await here.queue(first_of, n) for n in range(5)]
    assert [await handle.result(PATIENCE) for handle in handles] == ["patience"] * 5
    assert most == 2


@pytest.mark.parametrize(
    ("when", "done"),
    [("FIRST_COMPLETED", [1]), ("FIRST_EXCEPTION", [1, 2]), ("ALL_COMPLETED", [0, 1, 2])],
)
async def test_wait_answers_what_is_done_in_the_order_given_and_cancels_nothing(
    here: Here, when: Any, done: list[int], warm: int
) -> None:
    go = gates("012")

    @activity(retries=0)
    async def gated(n: int) -> int:
        await go[str(n)].wait()
        if n == 2:
            raise ValueError
        return n

    @workflow
    async def waits() -> list[list[int]]:
        calls: list[Any] = [gated.run(n) for n in range(3)]
        first, open_ones = await wait(calls, return_when=when)
        found = [[calls.index(each) for each in some] for some in (first, open_ones)]
        await wait(open_ones)
        return found

    await here.work(warm=warm)
    handle = await here.suspended(waits)
    for count, name in enumerate("120", 1):
        go[name].set()
        await here.ended(handle, count)
    assert await handle.result(PATIENCE) == [done, [n for n in range(3) if n not in done]]
    assert "activity_cancelled" not in await here.stage.types(handle)


async def test_wait_gives_up_after_its_timeout_and_raises_nothing(here: Here, warm: int) -> None:
    @activity
    async def quick() -> int:
        return 1

    @workflow
    async def waits() -> list[int]:
        calls: list[Any] = [wait_for_signal("never"), quick.run()]
        done, open_ones = await wait(calls, timeout="200ms")
        return [calls.index(each) for each in (*done, *open_ones)]

    await here.work(warm=warm)
    assert await here.result(waits) == [1, 0]


# --- shields and steps --------------------------------------------------------------------


async def test_a_call_that_is_shielded_survives_the_task_that_awaited_it(
    here: Here, warm: int
) -> None:
    go = asyncio.Event()

    @activity
    async def gated() -> str:
        await go.wait()
        return "done"

    @workflow
    async def shields() -> list[Any]:
        call = gated.run()

        async def waits() -> Any:
            return await shield(call)

        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel("not any more")
        try:
            await task
        except asyncio.CancelledError as error:
            return [error.args, task.cancelled(), await call, await call]
        return []

    await here.work(warm=warm)
    handle = await here.suspended(shields)
    go.set()
    assert await handle.result(PATIENCE) == [["not any more"], True, "done", "done"]
    assert "activity_cancelled" not in await here.stage.types(handle)
