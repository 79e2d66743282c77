"""Awaiting something that is not durable inside a workflow is a clear error, never a hang."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

import pytest
import workflows
from crash_stage import PATIENCE, Stage, code
from workflows import ExecutionFailed, Handle, activity, job, workflow

Wait = Callable[[], Awaitable[Any]]
Failures = dict[str, ExecutionFailed]
Run = Callable[..., Awaitable[Failures]]

# The loop of the worker, for waits that cross over to it.
outer: list[asyncio.AbstractEventLoop] = []


# --- waits that nothing durable ever ends: the error says where -------------------------------


async def an_event_that_nobody_sets() -> None:
    await asyncio.Event().wait()


async def a_future_that_nobody_resolves() -> None:
    await asyncio.get_running_loop().create_future()


async def a_queue_that_stays_empty() -> None:
    await asyncio.Queue[int]().get()


async def a_queue_that_stays_full() -> None:
    queue = asyncio.Queue[int](1)
    await queue.put(1)
    await queue.put(2)


async def a_lock_that_is_held() -> None:
    lock = asyncio.Lock()
    async with lock, lock:
        pass


async def a_semaphore_of_nothing() -> None:
    await asyncio.Semaphore(0).acquire()


async def a_condition_that_nobody_notifies() -> None:
    async with (condition := asyncio.Condition()):
        await condition.wait()


async def a_barrier_for_two() -> None:
    await asyncio.Barrier(2).wait()


async def tasks_that_wait_for_each_other() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def one(other: int) -> None:
        await tasks[other]

    tasks += [asyncio.create_task(one(1)), asyncio.create_task(one(0))]
    await asyncio.gather(*tasks)


async def a_task_group_of_one_that_hangs() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.Event().wait())


async def a_wait_with_nothing_durable_in_it() -> None:
    await asyncio.wait([asyncio.create_task(asyncio.Event().wait())])


async def a_generator_that_hangs() -> None:
    async def numbers() -> AsyncGenerator[int]:
        yield 1
        await asyncio.Event().wait()

    async for _ in numbers():
        pass


async def a_stream_that_nobody_feeds() -> None:
    await asyncio.StreamReader().read()


HANGS: list[Wait] = [
    an_event_that_nobody_sets,
    a_future_that_nobody_resolves,
    a_queue_that_stays_empty,
    a_queue_that_stays_full,
    a_lock_that_is_held,
    a_semaphore_of_nothing,
    a_condition_that_nobody_notifies,
    a_barrier_for_two,
    tasks_that_wait_for_each_other,
    a_task_group_of_one_that_hangs,
    a_wait_with_nothing_durable_in_it,
    a_generator_that_hangs,
    a_stream_that_nobody_feeds,
]

# --- what goes out of the workflow: refused where it is called --------------------------------


async def a_thread() -> None:
    await asyncio.to_thread(print)


async def an_executor() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, print)


async def a_future_of_an_executor() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        await asyncio.wrap_future(pool.submit(lambda: 1))


async def a_thread_that_calls_back() -> None:
    loop, told = asyncio.get_running_loop(), list[BaseException]()
    future: asyncio.Future[int] = loop.create_future()

    def call_back() -> None:
        try:
            loop.call_soon_threadsafe(future.set_result, 1)
        except workflows.NotDurableError as error:
            told.append(error)

    thread = threading.Thread(target=call_back)
    thread.start()
    thread.join()
    assert told
    await future


async def a_future_of_the_workers_loop() -> None:
    await outer[0].create_future()


async def a_task_of_the_workers_loop() -> None:
    await outer[0].create_task(asyncio.sleep(0.01))


async def a_coroutine_on_the_workers_loop() -> None:
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), outer[0]))


async def a_connection() -> None:
    await asyncio.open_connection("127.0.0.1", 1)


async def a_server() -> None:
    await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)


async def a_unix_connection() -> None:
    await asyncio.open_unix_connection("/nowhere")


async def a_datagram() -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )


async def bytes_of_a_socket() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        await asyncio.get_running_loop().sock_recv(one, 1)


async def a_readable_descriptor() -> None:
    one, other = socket.socketpair()
    with one, other:
        readable = asyncio.Event()
        asyncio.get_running_loop().add_reader(one, readable.set)
        await readable.wait()


async def a_name() -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 1)


async def a_process() -> None:
    await asyncio.create_subprocess_exec(sys.executable, "-c", "")


async def a_shell() -> None:
    await asyncio.create_subprocess_shell("true", stdout=subprocess.DEVNULL)


async def a_signal_of_the_system() -> None:
    came = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, came.set)
    await came.wait()


async def another_loop() -> None:
    coroutine = asyncio.sleep(0)
    try:
        asyncio.get_running_loop().run_until_complete(coroutine)
    finally:
        coroutine.close()


async def the_client() -> None:
    await workflows.client().get("00000000-0000-0000-0000-000000000000")


async def a_handle_by_id() -> None:
    await Handle[Any]("00000000-0000-0000-0000-000000000000").result()


async def a_blocking_handle() -> None:
    Handle[Any]("00000000-0000-0000-0000-000000000000").result_sync()


async def a_blocking_call() -> None:
    elsewhere.run_sync()


async def coroutines_as_they_complete() -> None:
    coroutines = [asyncio.sleep(1), asyncio.sleep(2)]
    try:
        for each in asyncio.as_completed(coroutines):
            await each
    finally:
        for each in coroutines:
            each.close()


async def a_sleep_without_an_end() -> None:
    await asyncio.sleep(float("inf"))


async def a_timeout_without_an_end() -> None:
    async with asyncio.timeout(float("inf")):
        await asyncio.Event().wait()


GOES_OUT: list[Wait] = [
    a_thread,
    an_executor,
    a_future_of_an_executor,
    a_thread_that_calls_back,
    a_future_of_the_workers_loop,
    a_task_of_the_workers_loop,
    a_coroutine_on_the_workers_loop,
    a_connection,
    a_server,
    a_unix_connection,
    a_datagram,
    bytes_of_a_socket,
    a_readable_descriptor,
    a_name,
    a_process,
    a_shell,
    a_signal_of_the_system,
    another_loop,
    the_client,
    a_handle_by_id,
    a_blocking_handle,
    a_blocking_call,
    coroutines_as_they_complete,
    a_sleep_without_an_end,
    a_timeout_without_an_end,
]

# --- what asyncio itself does not take, and loops that never end ------------------------------


async def something_that_is_no_future() -> None:
    @types.coroutine
    def odd() -> Generator[str]:
        yield "nothing that a loop knows"

    await odd()


async def a_loop_around_nothing() -> None:
    while True:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def a_loop_inside_a_loop() -> None:
    coroutine = asyncio.sleep(0)
    try:
        asyncio.run(coroutine)
    finally:
        coroutine.close()


@job(name="durable.elsewhere", queue="elsewhere")
def elsewhere() -> None: ...


@activity(name="durable.quick", retries=0)
async def quick() -> str:
    return "done"


@pytest.fixture
async def failures(stage: Stage) -> AsyncGenerator[Run]:
    """Run a workflow for each wait, all on one worker, and answer how each of them failed."""
    outer[:] = [asyncio.get_running_loop()]
    waits: dict[str, Wait] = {}
    with code() as functions:
        functions.add(quick)

        @workflow
        async def waiting(name: str) -> None:
            await waits[name]()

    async with stage.serving(functions, concurrency=3):

        async def run(name: str, wait: Wait) -> ExecutionFailed:
            waits[name] = wait
            with pytest.raises(ExecutionFailed) as caught:
                await (await stage.queue(waiting, name)).result(PATIENCE)
            return caught.value

        async def run_all(*given: Wait) -> Failures:
            errors = await asyncio.gather(*(run(wait.__name__, wait) for wait in given))
            return {wait.__name__: error for wait, error in zip(given, errors, strict=True)}

        yield run_all


def types_of(failures: Failures) -> dict[str, str]:
    return {name: error.type for name, error in failures.items()}


async def test_a_wait_that_nothing_durable_ends_is_an_error_that_says_where(failures: Run) -> None:
    """R11."""
    found = await failures(*HANGS)
    assert types_of(found) == {wait.__name__: "NotDurableError" for wait in HANGS}
    for wait in HANGS:
        message = found[wait.__name__].message
        assert "nothing durable" in message
        line = int(message.partition(f"{__file__}:")[2].partition(" ")[0])
        source, start = inspect.getsourcelines(wait)
        assert start < line < start + len(source), message


async def test_what_goes_out_of_the_workflow_is_refused(failures: Run) -> None:
    """R11."""
    found = await failures(*GOES_OUT)
    assert types_of(found) == {wait.__name__: "NotDurableError" for wait in GOES_OUT}
    for wait in GOES_OUT:
        error = found[wait.__name__]
        assert f"in {wait.__name__}" in error.stack or f"at {__file__}:" in error.message


async def test_what_no_event_loop_takes_fails_the_workflow(failures: Run) -> None:
    """R11: as Python says it everywhere."""
    waits = [something_that_is_no_future, a_loop_inside_a_loop]
    assert set(types_of(await failures(*waits)).values()) == {"RuntimeError"}


async def test_a_loop_that_never_awaits_anything_durable_is_ended(failures: Run) -> None:
    """R11."""
    [error] = (await failures(a_loop_around_nothing)).values()
    assert error.type == "NotDurableError"
    assert "asyncio.sleep(0)" in error.message


async def test_a_wait_that_hangs_is_found_once_what_is_durable_has_ended(failures: Run) -> None:
    """R11: after an activity, and beside one."""

    async def after() -> None:
        await quick.run()
        await asyncio.Event().wait()

    async def beside() -> None:
        await asyncio.gather(quick.run(), asyncio.Event().wait())

    found = types_of(await failures(after, beside))
    assert found == {"after": "NotDurableError", "beside": "NotDurableError"}


async def test_waits_that_something_durable_ends_are_none_of_this(stage: Stage) -> None:
    """R11: locks, events, queues and asyncio's own sleep work."""
    with code() as functions:
        functions.add(quick)

        @workflow
        async def waits() -> list[Any]:
            event, queue = asyncio.Event(), asyncio.Queue[str](1)

            async def fill() -> None:
                await asyncio.sleep(0.01)
                await queue.put(await quick.run())
                event.set()

            async with asyncio.TaskGroup() as group, asyncio.timeout(60):
                group.create_task(fill())
                await event.wait()
                found = await queue.get()
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                return [found, "timeout"]
            return [found]

    async with stage.serving(functions, warm=0):
        assert await (await stage.queue(waits)).result(PATIENCE) == ["done", "timeout"]
