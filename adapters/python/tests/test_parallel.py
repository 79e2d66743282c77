"""Parallel work: G1 to G6, and what the combinators promise."""

import asyncio
import time
from typing import Any

import pytest
import workflows._functions as functions
from workflows._combinators import as_completed, gather, race, timeout, wait
from workflows._functions import activity, workflow
from workflows._outcomes import ActivityCancelled, ActivityError
from workflows._registry import Registry
from workflows._workflow import sleep, wait_for_signal

from .story import Story


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "registry", Registry())


@pytest.fixture(params=[True, False], ids=["cold", "warm"])
def cold(request: pytest.FixtureRequest) -> bool:
    return request.param


@activity(name="p.a")
async def a(x: int = 0) -> int: ...


def test_gathered_activities_start_together_and_answer_in_argument_order(cold: bool) -> None:  # G1
    @workflow
    async def w() -> list[int]:
        return list(await gather(a.run(1), a.run(2), a.run(3)))

    story = Story(w, cold=cold)
    assert len(story.turns[0].commands) == 3
    assert story.complete(3, 30).complete(1, 10).complete(2, 20).result == [10, 20, 30]
    story.check_prefixes()


def test_the_recorded_order_of_completion_is_that_of_the_replay() -> None:  # G2
    orders: list[list[int]] = []

    @workflow
    async def w() -> None:
        order: list[int] = []
        orders.append(order)

        async def one(n: int) -> None:
            order.append(await a.run(n))

        async with asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(one(n))
        await a.run(9)

    Story(w).complete(3, 3).complete(1, 1).complete(2, 2).complete(4)
    assert orders[-1] == [3, 1, 2] == orders[-2]


def test_of_several_failures_the_first_recorded_one_surfaces(cold: bool) -> None:  # G3
    @workflow
    async def w() -> str:
        try:
            await gather(a.run(1), a.run(2), a.run(3))
        except ActivityError as error:
            await a.run(4)
            return error.message
        return ""

    assert (
        Story(w, cold=cold).fail(2, message="second").fail(1, message="first").complete(4).result
        == "second"
    )


def test_return_exceptions_answers_all(cold: bool) -> None:  # G3
    @workflow
    async def w() -> list[str]:
        return [str(each) for each in await gather(a.run(1), a.run(2), return_exceptions=True)]

    assert Story(w, cold=cold).fail(1, "E", "x").complete(2, 2).result == ["E: x", "2"]


def test_the_loser_of_a_race_is_cancelled_once(cold: bool) -> None:  # G5
    @workflow
    async def w() -> Any:
        name, _ = await race(work=a.run(), late=sleep(5))
        await a.run(2)
        return name

    story = Story(w, cold=cold).later(6)
    assert story.child(1).status == "cancelled"
    story.crash().complete(3)
    assert story.result == "late"
    assert [c for c in story.commands if c["type"] == "cancel"] == [
        {"type": "cancel", "sequence": 1}
    ]
    story.check_prefixes()


def test_a_race_of_what_has_ended_is_won_by_argument_order() -> None:
    @workflow
    async def w() -> Any:
        first, second = wait_for_signal("x"), wait_for_signal("y")
        await sleep(1)
        return list(await race(b=second, a=first))

    story = Story(w, start=False)
    story.signal("x", 1).signal("y", 2)
    assert story.later(2).result == ["b", 2]


def test_a_race_waits_until_its_losers_have_cleaned_up(cold: bool) -> None:
    @workflow
    async def w() -> list[str]:
        log: list[str] = []

        async def loser() -> None:
            try:
                await sleep(60)
            finally:
                await a.run(1)
                log.append("cleaned")

        await race(a=sleep(1), b=loser())
        return [*log, "after"]

    story = Story(w, cold=cold).later(2)
    assert story.status == "suspended"
    assert story.complete(3).result == ["cleaned", "after"]


def test_gathering_nothing_returns_at_once() -> None:  # G6
    @workflow
    async def w() -> list[Any]:
        return list(await gather(*list[asyncio.Future[Any]]()))

    assert Story(w).result == []


def test_five_hundred_activities_can_be_gathered(cold: bool) -> None:  # G6
    @workflow
    async def w() -> int:
        return sum(await gather(*[a.run(n) for n in range(500)]))

    story = Story(w, cold=cold)
    assert story.complete_all({n + 1: n for n in range(500)}).result == sum(range(500))


def test_asyncio_gather_timeout_and_task_groups_work_unchanged(cold: bool) -> None:
    @workflow
    async def w() -> int:
        total = sum(await asyncio.gather(a.run(1), a.run(2)))
        async with asyncio.timeout(5):
            total += await a.run(3)
        async with asyncio.TaskGroup() as group:
            first, second = group.create_task(a.run(4)), group.create_task(asyncio.sleep(1, 100))
        return total + first.result() + second.result()

    story = Story(w, cold=cold).complete_all({1: 1, 2: 2}).complete(4, 3).complete(5, 4).later(2)
    assert story.result == 110
    assert story.types.count("timer_cancelled") == 1
    story.check_prefixes()


def test_a_timeout_that_was_not_needed_in_the_same_turn_leaves_no_trace() -> None:
    @workflow
    async def w() -> None:
        async with timeout("5m"):
            pass
        await a.run()

    assert [c["type"] for c in Story(w).commands] == ["schedule"]


def test_a_timeout_cancels_what_it_limits(cold: bool) -> None:
    @workflow
    async def w() -> str:
        try:
            async with timeout(1):
                await a.run()
        except TimeoutError:
            return "late"
        return ""

    story = Story(w, cold=cold).later(2)
    assert story.result == "late"
    assert story.child(2).status == "cancelled"


def test_wait_answers_lists_in_the_order_given(cold: bool) -> None:
    @workflow
    async def w() -> list[list[int]]:
        calls: list[Any] = [a.run(n) for n in range(4)]
        done, open_ones = await wait(calls, timeout=1)
        return [[calls.index(each) for each in done], [calls.index(each) for each in open_ones]]

    assert Story(w, cold=cold).complete(4).complete(2).later(2).result == [[1, 3], [0, 2]]


def test_waiting_for_thousands_takes_no_longer_than_their_number() -> None:
    """Each wait used to look for each call in the list of all: 20,000 took minutes."""

    @workflow
    async def w() -> list[int]:
        calls = [sleep(0.5 + n % 2) for n in range(20_000)]
        done, open_ones = await wait(calls, timeout=1)
        return [len(done), len(open_ones)]

    began = time.process_time()
    assert Story(w).later(1).result == [10_000, 10_000]
    assert time.process_time() - began < 10


def test_as_completed_answers_in_the_order_of_events(cold: bool) -> None:
    @workflow
    async def w() -> list[int]:
        return [future.result() async for future in as_completed([a.run(n) for n in range(3)])]

    assert Story(w, cold=cold).complete(3, 3).complete_all({1: 1, 2: 2}).result == [3, 1, 2]


def test_a_task_group_cancels_its_tasks_in_the_same_order_in_every_replay() -> None:
    @workflow
    async def w() -> None:
        async def one(n: int) -> None:
            try:
                await sleep(60)
            except asyncio.CancelledError:
                _ = a.run(n)
                raise

        try:
            async with asyncio.TaskGroup() as group:
                for n in range(12):
                    group.create_task(one(n))
                group.create_task(a.run(99))
        except* ActivityError:
            pass
        await a.run(100)

    story = Story(w).fail(1)
    assert story.status == "suspended", story.row.parked
    story.check_prefixes()


def test_an_activity_that_somebody_else_cancelled_is_not_a_cancel_of_the_workflow() -> None:  # C9
    @workflow
    async def w() -> str:
        try:
            await a.run()
        except ActivityCancelled:
            return "cancelled by another"
        return ""

    story = Story(w)
    story.stop(story.child(1))
    assert story.go().result == "cancelled by another"


def test_what_a_handle_cancels_at_once_is_never_started_and_its_result_says_so(cold: bool) -> None:
    @workflow
    async def w() -> str:
        handle = await a.queue()
        assert (await handle.cancel())["changed"]
        try:
            await handle.result()
        except ActivityCancelled:
            await a.run(1)
            return "cancelled"
        return ""

    story = Story(w, cold=cold)
    assert [c["sequence"] for c in story.commands] == [2], "the first was taken back"
    assert story.complete(2).result == "cancelled"
    story.check_prefixes()


def test_the_result_of_what_a_handle_cancels_later_is_there_at_once(cold: bool) -> None:
    @workflow
    async def w() -> str:
        handle = await a.queue()
        await a.run(1)
        assert (await handle.cancel())["changed"]
        try:
            await handle.result()
        except ActivityCancelled:
            assert not (await handle.cancel())["changed"]
            await a.run(2)
            return "cancelled"
        return ""

    story = Story(w, cold=cold).complete(2)
    assert story.child(1).status == "cancelled"
    assert story.complete(3).result == "cancelled"
    assert [c["type"] for c in story.commands].count("cancel") == 1
    story.check_prefixes()


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_cancel_that_comes_too_late_answers_how_it_ended(status: str) -> None:
    @workflow
    async def w() -> Any:
        handle = await a.queue(1)
        await sleep(1)
        return await handle.cancel()

    story = Story(w)
    if status == "cancelled":
        story.stop(story.child(1))
    ended = {"completed": story.complete, "failed": story.fail}.get(status)
    if ended is not None:
        ended(1)
    assert story.later(1).result == {"status": status, "changed": False}


def test_what_ends_while_a_handle_cancels_it_stays_cancelled_for_the_code(cold: bool) -> None:
    @workflow
    async def w() -> str:
        handle = await a.queue()
        await a.run(1)
        await handle.cancel()
        try:
            return f"{await handle.result()}"
        except ActivityCancelled:
            return "cancelled"

    story = Story(w, cold=cold).complete_all({2: 2, 1: 1})
    assert story.result == "cancelled"
    story.check_prefixes()
