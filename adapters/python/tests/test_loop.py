"""The deterministic loop, and how suspended code is forgotten: R10 and R11."""

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, cast

import pytest
import workflows._functions as functions
import workflows._loop as loops
from workflows._combinators import timeout
from workflows._discard import can_mark
from workflows._errors import Evicted, NotDurableError
from workflows._functions import activity, workflow
from workflows._registry import Registry
from workflows._workflow import now, sleep

from .story import Story


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "registry", Registry())


@activity(name="l.a")
async def a(x: int = 0) -> int: ...


async def never_set() -> None:
    await asyncio.Event().wait()


async def foreign_future() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("wait", [never_set, foreign_future])
def test_awaiting_what_nothing_durable_ends_is_an_error_and_no_hang(wait: Any) -> None:  # R11
    @workflow
    async def w() -> None:
        await a.run()
        await wait()

    story = Story(w).complete(1)
    assert story.status == "failed"
    assert story.error["type"] == "NotDurableError"
    assert "test_loop.py:" in story.error["message"]


@pytest.mark.parametrize(
    "use",
    [
        lambda: asyncio.to_thread(print),
        lambda: asyncio.open_connection("localhost", 1),
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.get_running_loop().getaddrinfo("localhost", 1),
    ],
    ids=["threads", "connections", "processes", "names"],
)
def test_what_is_not_durable_says_so_where_it_is_called(use: Any) -> None:  # R11
    @workflow
    async def w() -> str:
        try:
            await use()
        except NotDurableError as error:
            return str(error)
        return ""

    assert "not durable" in Story(w).result


def test_every_other_method_of_the_loop_is_refused() -> None:
    kept = {
        "call_soon",
        "call_later",
        "call_at",
        "time",
        "create_future",
        "create_task",
        "get_task_factory",
        "get_debug",
        "is_running",
    }
    kept |= {"is_closed", "call_exception_handler"}
    for name in dir(asyncio.AbstractEventLoop):
        if not name.startswith("_") and name not in kept:
            with pytest.raises(NotDurableError, match=name):
                getattr(loops.WorkflowLoop(cast(Any, None)), name)()


def test_asyncio_as_completed_is_refused_and_says_what_to_use() -> None:
    @workflow
    async def w() -> str:
        async def one() -> None: ...

        coroutines = [one(), one()]
        try:
            for each in asyncio.as_completed(coroutines):
                await each
        except NotDurableError as error:
            for each in coroutines:
                each.close()
            return str(error)
        return ""

    assert "workflows.as_completed" in Story(w).result


def test_asyncio_wait_takes_tasks_in_the_same_order_in_every_replay() -> None:
    orders: list[list[int]] = []

    @workflow
    async def w() -> None:
        tasks = [asyncio.create_task(a.run(n)) for n in range(9)]
        done, _ = await asyncio.wait(tasks)
        orders.append([tasks.index(each) for each in done])
        await a.run(9)

    Story(w).complete_all({n + 1: n for n in range(9)}).complete(10)
    assert len(orders) == 2
    assert orders[0] == orders[1]


@pytest.mark.parametrize(
    "made",
    [
        lambda: asyncio.gather(a.run(1), a.run(2)),
        lambda: asyncio.shield(a.run(1)),
        lambda: asyncio.get_running_loop().create_future(),
    ],
    ids=["gather", "shield", "future"],
)
def test_asyncio_wait_refuses_what_has_no_stable_order(made: Any) -> None:
    @workflow
    async def w() -> str:
        try:
            await asyncio.wait([made(), asyncio.create_task(a.run(3))])
        except NotDurableError as error:
            return str(error)
        return ""

    assert "workflows.wait" in Story(w).result


def test_asyncio_wait_for_is_refused_where_it_is_not_stable() -> None:
    @workflow
    async def w() -> Any:
        call = a.run()
        try:
            return await asyncio.wait_for(call, 5)
        except NotDurableError as error:
            return str(error)

    story = Story(w)
    if sys.version_info < (3, 12):
        assert "asyncio.timeout" in story.result
    else:
        assert story.complete(1, 7).result == 7


def test_an_endless_loop_around_sleep_0_fails_the_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "MAX_TICKS", 1000)

    @workflow
    async def w() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    story = Story(w)
    assert story.error["type"] == "NotDurableError"
    assert "asyncio.sleep(0)" in story.error["message"]


def test_a_loop_that_asks_for_something_now_and_then_is_not_endless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loops, "MAX_TICKS", 100)

    @workflow
    async def w() -> str:
        for _ in range(20):
            for _ in range(20):
                await asyncio.sleep(0)
            _ = a.run()
        return "done"

    assert Story(w).result == "done"


@pytest.mark.parametrize("stop", [SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("in_task", [True, False])
def test_system_exit_fails_that_workflow_only(stop: BaseException, in_task: bool) -> None:
    @workflow
    async def w() -> None:
        async def leave() -> None:
            raise stop

        await (asyncio.create_task(leave()) if in_task else leave())

    assert Story(w).error["type"] == type(stop).__name__


def test_nothing_runs_after_the_root_is_done() -> None:
    ran: list[int] = []

    @workflow
    async def w() -> str:
        async def background() -> None:
            try:
                for n in range(100):
                    ran.append(n)
                    await asyncio.sleep(0)
            finally:
                ran.append(-1)

        asyncio.create_task(background())  # noqa: RUF006
        await asyncio.sleep(0)
        return "done"

    assert Story(w).result == "done"
    gc.collect()
    assert -1 not in ran
    assert len(ran) < 4


def test_a_task_that_nobody_holds_is_not_collected() -> None:
    @workflow
    async def w() -> int:
        event, found = asyncio.Event(), list[int]()

        async def one() -> None:
            found.append(await a.run())
            event.set()

        asyncio.create_task(one())  # noqa: RUF006
        gc.collect()
        await event.wait()
        return found[0]

    story = Story(w, cold=False)
    gc.collect()
    assert story.complete(1, 5).result == 5


def test_queues_locks_and_events_of_asyncio_work() -> None:
    @workflow
    async def w() -> int:
        queue, lock = asyncio.Queue[int](1), asyncio.Lock()

        async def produce() -> None:
            for n in range(3):
                async with lock:
                    await queue.put(await a.run(n))

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            return sum([await queue.get() for _ in range(3)])

    assert Story(w).complete(1, 1).complete(2, 2).complete(3, 3).result == 6


def test_the_loop_time_is_that_of_the_events() -> None:
    @workflow
    async def w() -> bool:
        return asyncio.get_running_loop().time() == now().timestamp()

    assert Story(w).result is True


def test_a_call_is_a_coroutine_and_a_future() -> None:
    from collections.abc import Coroutine

    @workflow
    async def w() -> list[Any]:
        call = a.run()
        task = asyncio.create_task(call)
        found: list[Any] = [
            isinstance(cast(Any, call), Coroutine),
            asyncio.iscoroutine(call),
            await task,
            await call,
        ]
        async with asyncio.TaskGroup() as group:
            other = group.create_task(a.run(2))
        return [*found, other.result(), await asyncio.shield(a.run(3))]

    assert Story(w).complete(1, 1).complete(2, 2).complete(3, 3).result == [True, True, 1, 1, 2, 3]


# --- R10 ---

ran: list[str] = []


@contextlib.contextmanager
def manager() -> Generator[None]:
    try:
        yield
    finally:
        ran.append("manager")


@contextlib.asynccontextmanager
async def async_manager() -> AsyncGenerator[None]:
    try:
        yield
    finally:
        ran.append("async manager")


async def numbers() -> AsyncIterator[int]:
    try:
        for n in range(9):
            yield await a.run(n)
    finally:
        ran.append("async generator")


def pairs() -> Iterator[int]:
    try:
        yield 1
        yield 2
    finally:
        ran.append("generator")


@workflow(name="l.guarded")
async def guarded() -> None:
    async def inner() -> None:
        try:
            async with timeout(100), contextlib.AsyncExitStack() as stack:
                stack.enter_context(manager())
                await stack.enter_async_context(async_manager())
                async for _ in numbers():
                    pass
        except Exception:
            ran.append("except")
        finally:
            ran.append("finally")
            await a.run(99)

    held = pairs()
    next(held)
    with manager():
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(inner())
                group.create_task(sleep(50))
        except BaseException:
            ran.append("except")
            raise
        finally:
            ran.append("finally")
            assert held


@pytest.mark.skipif(not can_mark(), reason="this interpreter cannot forget suspended code")
@pytest.mark.parametrize("cold", [True, False])
def test_suspending_never_runs_the_code_of_the_user(
    cold: bool, caplog: pytest.LogCaptureFixture
) -> None:  # R10
    ran.clear()
    with caplog.at_level(logging.DEBUG):
        story = Story(guarded, cold=cold).complete(3)
        assert story.status == "suspended"
        story.crash()
        del story
        gc.collect()
    assert ran == []
    assert caplog.records == []


def test_code_that_runs_in_a_discard_all_the_same_can_do_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # R10
    monkeypatch.setattr("workflows._discard.can_mark", lambda: False)
    seen: list[str] = []

    @workflow
    async def w() -> None:
        try:
            await a.run()
        finally:
            for use in (
                lambda: a.run(),
                lambda: a.queue(),
                lambda: sleep(1),
                lambda: now(),
                lambda: asyncio.get_running_loop().call_later(1, print),
            ):
                try:
                    use()
                except Evicted:
                    seen.append("evicted")

    story = Story(w)
    story.crash()
    gc.collect()
    assert seen == ["evicted"] * 5
    assert len(story.row.events) == 2


def test_discarding_frees_what_the_code_held() -> None:
    freed: list[str] = []

    class Held:
        def __del__(self) -> None:
            freed.append("held")

    @workflow
    async def w() -> None:
        held = Held()
        await a.run()
        del held

    story = Story(w, cold=False)
    gc.disable()
    try:
        story.crash()
        assert freed == ["held"], "at once, and not when the collector comes by"
    finally:
        gc.enable()
