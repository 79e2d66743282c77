"""What asyncio does with the tasks and futures of workflow code, alike in every Python."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import workflows
import workflows._functions as functions
from workflows._combinators import as_completed, gather, timeout, wait
from workflows._functions import activity, workflow
from workflows._registry import Registry
from workflows._workflow import set_state, sleep, wait_for_signal

from .story import Story


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "registry", Registry())


@pytest.fixture(params=[True, False], ids=["cold", "warm"])
def cold(request: pytest.FixtureRequest) -> bool:
    return request.param


@activity(name="t.a")
async def a(x: int = 0) -> int: ...


async def ticking() -> None:
    for at in range(4):
        set_state(at)
        await asyncio.sleep(0)


def states(story: Story) -> list[Any]:
    return [event["payload"] for event in story.row.events if event["type"] == "state_set"]


@pytest.mark.parametrize("both", [asyncio.gather, gather])
@pytest.mark.parametrize("what", ["call", "task", "gathered", "shielded"])
def test_gathering_what_has_ended_takes_the_same_turns_in_every_python(
    both: Any, what: str, cold: bool
) -> None:
    @workflow
    async def w() -> None:
        call = a.run()
        ended: Any = {
            "call": lambda: call,
            "task": lambda: asyncio.ensure_future(call),
            "gathered": lambda: gather(call),
            "shielded": lambda: asyncio.shield(call),
        }[what]()
        await wait([ended])
        other = asyncio.ensure_future(ticking())
        await both(ended)
        set_state("gathered")
        await other

    assert states(Story(w, cold=cold).complete(1)) == [0, 1, "gathered", 2, 3]


def test_a_gathering_takes_the_same_thing_twice_and_nothing() -> None:
    @workflow
    async def w() -> list[Any]:
        call, coroutine = a.run(), asyncio.sleep(0, 5)
        return [await gather(call, coroutine, call, coroutine), await gather()]

    assert Story(w).complete(1, 7).result == [[7, 5, 7, 5], []]


def test_cancelling_a_gathering_cancels_what_is_in_it_and_waits_for_it(cold: bool) -> None:
    @workflow
    async def w() -> list[Any]:
        done: list[str] = []

        async def cleaning() -> None:
            try:
                await a.run(1)
            finally:
                await a.run(2)
                done.append("cleaned")

        gathering = gather(cleaning(), a.run(3), return_exceptions=True)
        await a.run(4)
        assert gathering.cancel("enough")
        try:
            await gathering
        except asyncio.CancelledError:
            done.append("cancelled")
        return [*done, gathering.cancel(), gathering.cancelled()]

    story = Story(w, cold=cold).complete(2)
    assert story.status == "suspended"
    assert story.complete(4).result == ["cleaned", "cancelled", False, False]
    assert story.child(1).status == story.child(3).status == "cancelled"
    story.check_prefixes()


def test_what_is_cancelled_in_a_gathering_ends_it_or_is_among_the_results() -> None:
    @workflow
    async def w(takes: bool) -> list[Any]:
        first, second = asyncio.ensure_future(a.run(1)), a.run(2)
        gathering: Any = gather(first, second, return_exceptions=takes)
        await a.run(3)
        first.cancel()
        try:
            return [type(each).__name__ for each in await gathering]
        except asyncio.CancelledError:
            return ["cancelled", second.done()]  # type: ignore[attr-defined]

    assert Story(w, False).complete(3).result == ["cancelled", False]
    assert Story(w, True).complete(3).complete(2).result == ["CancelledError", "NoneType"]


def test_a_group_that_failed_leaves_no_trace_in_a_timeout_around_it(cold: bool) -> None:
    @workflow
    async def w() -> str:
        try:
            async with timeout(5):
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(a.run())
                except* workflows.ActivityError:
                    pass
                task = asyncio.current_task()
                assert task is not None
                assert task.cancelling() == 0
                await wait_for_signal("never")
        except TimeoutError:
            return "late"
        return ""

    assert Story(w, cold=cold).fail(2).later(6).result == "late"


def test_the_failures_of_a_group_win_over_the_cancel_that_met_them(cold: bool) -> None:
    @workflow
    async def w() -> str:
        async def fails_when_cancelled() -> None:
            try:
                await a.run()
            finally:
                raise ValueError

        async def grouped() -> str:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fails_when_cancelled())
            except* ValueError:
                pass
            await a.run(1)
            return "went on"

        task = asyncio.ensure_future(grouped())
        await a.run(2)
        task.cancel()
        return await task

    assert Story(w, cold=cold).complete(1).complete(3).result == "went on"


def test_a_timeout_in_the_clean_up_after_a_cancel_is_told_from_that_cancel() -> None:
    @workflow
    async def w(seconds: int) -> str:
        async def cleaning() -> str:
            try:
                await a.run()
            except asyncio.CancelledError:
                try:
                    async with asyncio.timeout(seconds):
                        await a.run(1)
                except TimeoutError:
                    return "late"
            return ""

        task = asyncio.ensure_future(cleaning())
        await a.run(2)
        task.cancel()
        return await task

    assert Story(w, 5).complete(1).later(6).result == "late"
    assert Story(w, 0).complete(1).result == "late"


def test_a_cancel_on_its_way_is_not_taken_back() -> None:
    @workflow
    async def w() -> list[Any]:
        async def cancels_itself() -> list[Any]:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            counts = [task.cancelling(), task.uncancel(), task.uncancel()]
            try:
                await a.run()
            except asyncio.CancelledError:
                return [*counts, "cancelled"]
            return counts

        return await asyncio.ensure_future(cancels_itself())

    assert Story(w).result == [1, 0, 0, "cancelled"]


def test_sets_of_futures_have_the_same_order_in_every_replay() -> None:
    orders: list[list[int]] = []

    @workflow
    async def w() -> None:
        futures: list[Any] = [a.run(), asyncio.ensure_future(a.run()), gather(a.run())]
        futures += [asyncio.shield(a.run()), sleep(1), wait_for_signal("x")]
        futures += [asyncio.get_running_loop().create_future() for _ in range(50)]
        orders.append([futures.index(each) for each in set(futures)])
        assert len({hash(each) for each in futures}) == len(futures)
        await futures[0]
        await futures[1]

    Story(w).complete(1).complete(2)
    assert len(orders) == 3
    assert orders[0] == orders[1] == orders[2]


def test_the_collector_does_not_run_while_the_code_does() -> None:
    """What it finds, it would finalise at another place in each process."""

    @workflow
    async def w() -> None:
        async def numbers() -> AsyncGenerator[int, None]:
            try:
                yield 1
            finally:
                set_state("closed")

        async def left_halfway() -> None:
            generator = numbers()
            cycle: list[Any] = [generator]
            cycle.append(cycle)
            await anext(generator)

        await left_halfway()
        for _ in range(2000):
            rubbish: list[list[int]] = [[]]  # enough to make it run, if it could
            rubbish.clear()
        await a.run()

    thresholds = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        story = Story(w)
    finally:
        gc.set_threshold(*thresholds)
    assert gc.isenabled()
    assert states(story.complete(1)) == []
    assert story.status == "completed"


def test_asyncio_as_completed_with_a_timeout_is_refused() -> None:
    @workflow
    async def w() -> str:
        try:
            for each in asyncio.as_completed([a.run()], timeout=5):
                await each
        except workflows.NotDurableError as error:
            return str(error)
        return ""

    assert "workflows.as_completed" in Story(w).result


def test_what_has_ended_already_completes_first() -> None:
    @workflow
    async def w() -> list[Any]:
        calls = [a.run(n) for n in range(3)]
        await calls[2]
        return [each.result() async for each in as_completed(calls)]

    assert Story(w).complete_all({3: 3, 1: 1}).complete(2, 2).result == [3, 1, 2]
