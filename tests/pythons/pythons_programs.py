"""Workflows in which the order of commands hangs on what asyncio does inside.

Each publishes as its state what has just happened, so that another order gives
other commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import workflows
from pythons_parts import beside, one, raising, ticking
from pythons_trees import Oops, count, work
from workflows import (
    ActivityError,
    as_completed,
    gather,
    race,
    set_state,
    shield,
    sleep,
    timeout,
    wait,
    wait_for_signal,
    workflow,
)

Awaits = Iterable[Awaitable[Any]]


# --- gather -------------------------------------------------------------------------------


@workflow
async def gather_mixed_things() -> Any:
    task = asyncio.ensure_future(one("task", work.run(1)))
    return await gather(
        one("coroutine", work.run(2)), task, work.run(3), sleep(1), count.run(4), shield(task), task
    )


@workflow
async def gather_with_exceptions() -> Any:
    found = await gather(*beside(3), raising("r"), count.run(1), return_exceptions=True)
    return [each if isinstance(each, int) else type(each).__name__ for each in found]


@workflow
async def gather_what_has_ended(lib: str) -> None:
    both = gather if lib == "workflows" else asyncio.gather
    ended = [work.run(1), asyncio.ensure_future(one("t", work.run(2))), gather(work.run(3))]
    await wait(ended)
    for some in (ended, ended[:1], [*ended, one("new")], [shield(ended[0])]):
        other = asyncio.ensure_future(ticking("other"))
        await both(*some, return_exceptions=True)
        set_state("gathered")
        await other


@workflow
async def gather_failures_that_have_ended(lib: str) -> str:
    both = gather if lib == "workflows" else asyncio.gather
    calls = [work.run(n) for n in range(4)]
    await wait(calls)
    other = asyncio.ensure_future(ticking("other"))
    try:
        await both(*calls)
    except ActivityError as error:
        set_state("failed")
        await other
        return str(error.workflows_sequence)  # type: ignore[attr-defined]
    set_state("all")
    await other
    return "none"


@workflow
async def gather_nested_and_cancelled() -> None:
    inner = gather(*beside(2))
    outer = asyncio.ensure_future(one("outer", gather(inner, gather(*beside(5)))))
    await sleep(1)
    outer.cancel()
    await wait([outer, inner])
    await gather(inner, asyncio.gather(inner, return_exceptions=True), return_exceptions=True)


# --- race, wait, as_completed --------------------------------------------------------------


@workflow
async def race_with_losers_that_clean_up() -> str:
    async def cleaning(name: str, seconds: int) -> None:
        try:
            await sleep(seconds)
        finally:
            await one([name, "cleaned"], work.run(9))

    name, _ = await race(a=cleaning("a", 1), b=cleaning("b", 1), c=one("c", work.run(1)))
    return name


@workflow
async def race_again_and_again() -> list[str]:
    won: list[str] = []
    left = {"a": work.run(1), "b": work.run(2), "c": asyncio.ensure_future(one("c", sleep(2)))}
    for _ in range(3):
        name, _ = await race(**{key: shield(each) for key, each in left.items()})
        won.append(name)
        del left[name]
    return won


@workflow
async def wait_for_each(mode: str, limit: float | None, lib: str) -> None:
    left: Any = [asyncio.ensure_future(each) for each in [*beside(2), *beside(3), raising("r")]]
    names = {each: at for at, each in enumerate(left)}
    for _ in range(4):
        if not left:
            break
        both = wait if lib == "workflows" else asyncio.wait
        done, left = await both(left, timeout=limit, return_when=mode)  # type: ignore[arg-type]
        set_state([names[each] for each in done])
    for each in left:
        each.cancel()
    await sleep(1)


@workflow
async def as_completed_and_left_halfway() -> None:
    tasks = [asyncio.ensure_future(each) for each in [*beside(1), *beside(1), raising("r")]]
    at = 0
    async for each in as_completed([work.run(7), *tasks]):
        set_state([at, str(each.exception())])
        at += 1
        if at == 4:
            break
    for each in tasks:
        each.cancel()
    await wait(tasks)


# --- timeout ------------------------------------------------------------------------------


def limit(lib: str, seconds: float) -> asyncio.Timeout:
    """Either timeout."""
    return timeout(seconds) if lib == "workflows" else asyncio.timeout(seconds)


@workflow
async def timeout_that_races_with_its_body(lib: str) -> list[str]:
    found: list[str] = []
    for seconds in (0, 1, 2):
        try:
            async with limit(lib, seconds):
                await one(seconds, sleep(1), work.run(seconds))
            found.append("in time")
        except TimeoutError:
            found.append("late")
    return found


@workflow
async def timeouts_within_timeouts(lib: str) -> list[str]:
    found: list[str] = []
    try:
        async with limit(lib, 2):
            try:
                async with limit(lib, 1), asyncio.TaskGroup() as group:
                    group.create_task(one("g", work.run(1), sleep(5)))
                    await one("b", wait_for_signal("x"))
            except TimeoutError:
                found.append("inner")
            await one("between", work.run(2), sleep(1))
    except TimeoutError:
        found.append("outer")
    return found


@workflow
async def timeout_in_a_clean_up(lib: str) -> str:
    async def cleaning() -> str:
        try:
            await sleep(9)
        except asyncio.CancelledError:
            try:
                async with limit(lib, 1):
                    await one("clean", work.run(1), wait_for_signal("y"))
            except TimeoutError:
                return "late"
            return "clean"
        return ""

    task = asyncio.ensure_future(cleaning())
    await work.run(2)
    task.cancel()
    return await task


@workflow
async def timeout_after_a_group_has_failed(lib: str) -> str:
    try:
        async with limit(lib, 3):
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(one("fails", work.run(1), raising("r")))
                    group.create_task(one("other", sleep(9)))
            except* (Oops, ActivityError):
                set_state("group failed")
            await wait_for_signal("never")
    except TimeoutError:
        return "late"
    return ""


@workflow
async def timeout_around_failures(lib: str) -> list[str]:
    async def fails_when_cancelled(number: int) -> None:
        try:
            await sleep(9)
        finally:
            await one(["failing", number], work.run(number))
            raise Oops(str(number))

    found: list[str] = []
    try:
        async with limit(lib, 1):
            try:
                async with asyncio.TaskGroup() as group:
                    for number in range(3):
                        group.create_task(fails_when_cancelled(number))
            except* (Oops, ActivityError) as errors:
                found += sorted(str(each) for each in errors.exceptions)
            await one("after", sleep(1))
            found.append("after")
    except TimeoutError:
        found.append("late")
    return found


# --- TaskGroup ----------------------------------------------------------------------------


@workflow
async def group_of_many(size: int) -> list[int]:
    order: list[int] = []

    async def each(number: int) -> None:
        try:
            await sleep(60 + number)
        except asyncio.CancelledError:
            order.append(number)
            raise

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(size):
                group.create_task(each(number))
            group.create_task(raising("r"))
    except* Oops:
        pass
    return order


@workflow
async def groups_in_groups() -> str:
    try:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(one("o", sleep(2), work.run(1)))
            async with asyncio.TaskGroup() as inner:
                inner.create_task(one("i", work.run(2), raising("inner")))
                inner.create_task(one("j", shield(one("shielded", sleep(1))), work.run(3)))
                await one("body", work.run(4))
            outer.create_task(one("later", count.run(1), raising("outer")))
    except* Oops as errors:
        set_state(sorted(str(each) for each in errors.exceptions))
    except* ActivityError:
        set_state("failed")
    await ticking("after")
    return "done"


@workflow
async def group_whose_body_fails() -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(one("a", work.run(1)))
            group.create_task(one("b", sleep(1)))
            await asyncio.sleep(0)
            raise Oops("body")
    except* Oops:
        set_state("caught")
    await one("after", work.run(2))


@workflow
async def cancelled_while_its_group_fails() -> Any:
    async def grouped() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(one("a", work.run(1), raising("a")))
                group.create_task(one("b", sleep(3)))
        except* (Oops, ActivityError):
            set_state("failed")
        await one("after", work.run(2))
        return "went on"

    task = asyncio.ensure_future(grouped())
    await race(x=wait_for_signal("x"), s=sleep(1), w=work.run(3))
    task.cancel()
    [found] = await gather(task, return_exceptions=True)
    return found if isinstance(found, str) else type(found).__name__


@workflow
async def cancelled_twice_and_taken_back() -> list[Any]:
    found: list[Any] = []

    async def stubborn() -> None:
        for number in range(3):
            try:
                await one(number, work.run(number))
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                found.append([task.cancelling(), task.uncancel()])
                task.cancel()
                found.append([task.uncancel(), task.cancelling()])

    task = asyncio.ensure_future(stubborn())
    await asyncio.sleep(0)
    task.cancel()
    task.cancel()
    await wait([task, sleep(3)])
    return found


# --- the rest -----------------------------------------------------------------------------


@workflow
async def shielded_from_a_cancel() -> None:
    inner = asyncio.ensure_future(one("inner", work.run(1), sleep(1)))
    try:
        await gather(shield(inner), asyncio.shield(inner), wait_for_signal("x"))
    finally:
        await one("finally", inner)


@asynccontextmanager
async def held(name: str) -> AsyncGenerator[None, None]:
    """Gives commands when it is entered and when it is left."""
    await one([name, "in"], work.run(1))
    try:
        yield
    finally:
        await one([name, "out"], work.run(2))


@workflow
async def context_managers() -> None:
    async with timeout(3), AsyncExitStack() as stack:
        await stack.enter_async_context(held("first"))
        stack.push_async_callback(one, "callback", sleep(0))
        await stack.enter_async_context(held("second"))
        await wait_for_signal("y")


async def numbers(name: str) -> AsyncGenerator[int, None]:
    """Gives commands while it is iterated over and when it is closed."""
    try:
        for number in range(5):
            yield await work.run(number)
    finally:
        await one([name, "closed"], sleep(1))


@workflow
async def async_generators() -> None:
    async for number in numbers("dropped"):
        if number:
            break
    await ticking("between", 3)
    async with aclosing(numbers("closed")) as generated:
        async for _ in generated:
            break
    with_failure = numbers("thrown")
    await anext(with_failure)
    try:
        await with_failure.athrow(Oops("thrown"))
    except Oops:
        set_state("thrown")
    try:
        async with timeout(2):
            async for _ in numbers("late"):
                pass
    except TimeoutError:
        set_state("late")
    await sleep(3)


@workflow
async def locks_and_queues() -> None:
    lock, slots, queue = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Queue[Any](1)
    ready = asyncio.Event()

    async def locked(number: int) -> None:
        async with slots:
            await one(["slot", number], work.run(number))
            async with lock:
                await one(["lock", number], sleep(1))
        await queue.put(number)
        ready.set()

    tasks = [asyncio.ensure_future(locked(number)) for number in range(5)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    await ready.wait()
    tasks[2].cancel()
    for number in range(3):
        if all(each.done() for each in tasks) and queue.empty():
            break
        try:
            async with timeout(4):
                set_state(["got", number, await queue.get()])
        except TimeoutError:
            set_state(["late", number])
    await gather(*tasks, return_exceptions=True)


@workflow
async def everything_within_everything() -> list[Any]:
    async def part(name: str, things: Awaits) -> Any:
        async with timeout(4):
            return await one(name, gather(*things, return_exceptions=True))

    async with asyncio.TaskGroup() as group:
        first = group.create_task(part("p", beside(1)))
        second = group.create_task(part("q", [part("r", beside(2)), shield(work.run(8))]))
        winner, _ = await race(a=part("s", beside(3)), b=one("b", sleep(2)), c=shield(first))
        set_state(winner)
        async for each in as_completed([part("t", beside(1)), part("u", [count.run(1)])]):
            set_state(str(each.exception()))
    return [len(first.result()), len(second.result()), await workflows.gather()]


# What is run: a workflow, its arguments, and how many different things happen to it.
PROGRAMS: list[tuple[Any, list[Any], int]] = [
    (gather_mixed_things, [], 6),
    (gather_with_exceptions, [], 6),
    *[(gather_what_has_ended, [lib], 2) for lib in ("asyncio", "workflows")],
    *[(gather_failures_that_have_ended, [lib], 4) for lib in ("asyncio", "workflows")],
    (gather_nested_and_cancelled, [], 6),
    (race_with_losers_that_clean_up, [], 6),
    (race_again_and_again, [], 4),
    *[
        (wait_for_each, [mode, seconds, lib], 3)
        for mode in ("FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED")
        for seconds in (None, 2)
        for lib in ("asyncio", "workflows")
    ],
    (as_completed_and_left_halfway, [], 6),
    *[
        (each, [lib], 4)
        for each in (
            timeout_that_races_with_its_body,
            timeouts_within_timeouts,
            timeout_in_a_clean_up,
            timeout_after_a_group_has_failed,
            timeout_around_failures,
        )
        for lib in ("asyncio", "workflows")
    ],
    (group_of_many, [40], 1),
    (groups_in_groups, [], 8),
    (group_whose_body_fails, [], 3),
    (cancelled_while_its_group_fails, [], 8),
    (cancelled_twice_and_taken_back, [], 4),
    (shielded_from_a_cancel, [], 6),
    (context_managers, [], 6),
    (async_generators, [], 6),
    (locks_and_queues, [], 6),
    (everything_within_everything, [], 8),
]
