"""Channels, against a library that does what a test tells it."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from workflows import (
    Closed,
    DatabaseUnavailable,
    ExecutionNotFound,
    Forked,
    Internal,
    NotDurableError,
    PayloadError,
)
from workflows._channel import Channel
from workflows._engine import Engine
from workflows._library import Library
from workflows._loop import WorkflowLoop
from workflows._operations import Operation

from .fake_library import STUCK, FakeLibrary, fakes, refuse


@pytest.fixture
def library() -> Iterator[FakeLibrary]:
    fake = FakeLibrary()
    yield fake
    for channel in fake.channels.values():
        channel.close()
        channel.theirs.close()


@pytest.fixture
def engine(library: FakeLibrary) -> Iterator[Engine]:
    engine = Engine({"database_url": "postgres:///x"}, library=cast("Library", library))
    yield engine
    engine.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something has happened; the test's timeout ends a wait in vain."""
    while not condition():  # noqa: ASYNC110  # nothing announces it
        await asyncio.sleep(0)


async def stuck(engine: Engine, operation: Operation = Operation.STATS) -> asyncio.Task[Any]:
    """Start a call that is not answered, and come back when it has been submitted."""
    task = asyncio.ensure_future(engine.channel().call(operation, STUCK))
    channel = engine.channel()
    await until(lambda: any(c.in_flight for c in fakes(engine).channels.values()))
    assert not channel.is_closed
    return task


async def test_a_call_answers_what_the_reply_has_under_ok(engine: Engine) -> None:
    assert await engine.channel().call(Operation.STATS, {"a": ["\ud800\x00", 10**30]}) == {
        "a": ["\ud800\x00", 10**30]
    }


async def test_a_fault_raises_its_class(engine: Engine, library: FakeLibrary) -> None:
    library.reply = refuse("execution_not_found")
    with pytest.raises(ExecutionNotFound, match="no x"):
        await engine.channel().call(Operation.GET_EXECUTION, {"id": "x"})


async def test_the_calls_of_one_tick_are_submitted_together(
    engine: Engine, library: FakeLibrary
) -> None:
    channel = engine.channel()
    await channel.call(Operation.STATS, {})
    replies = await asyncio.gather(*(channel.call(Operation.STATS, {"n": n}) for n in range(100)))
    assert replies == [{"n": n} for n in range(100)]
    assert library.submits == [1, 100]


async def test_completions_are_taken_128_at_a_time_so_that_others_get_their_turn(
    engine: Engine, library: FakeLibrary
) -> None:
    channel = engine.channel()
    await asyncio.gather(*(channel.call(Operation.STATS, {"n": n}) for n in range(300)))
    assert [taken for taken in library.drains if taken] == [128, 128, 44]


async def test_a_request_that_is_not_json_is_refused_before_it_is_sent(engine: Engine) -> None:
    with pytest.raises(PayloadError, match=r"\$\.a"):
        await engine.channel().call(Operation.STATS, {"a": float("nan")})


async def test_a_busy_library_gets_the_same_requests_again(
    engine: Engine, library: FakeLibrary
) -> None:
    channel = engine.channel()
    await channel.call(Operation.STATS, {})
    library.busy = 3
    calls = (channel.call(Operation.STATS, {"n": n}) for n in range(10))
    assert await asyncio.gather(*calls) == [{"n": n} for n in range(10)]
    assert library.busy == 0
    assert sum(library.submits) == 11


async def test_a_library_that_takes_only_a_few_at_once_gets_all_of_them_in_order(
    engine: Engine, library: FakeLibrary
) -> None:
    order: list[int] = []
    channel = engine.channel()
    await channel.call(Operation.STATS, {})
    library.most = 7

    def reply(_: int, request: dict[str, Any]) -> dict[str, Any]:
        order.append(request["n"])
        return {"ok": request}

    library.reply = reply
    await asyncio.gather(*(channel.call(Operation.STATS, {"n": n}) for n in range(50)))
    assert order == list(range(50))


async def test_more_than_a_thousand_calls_go_in_several_submits(
    engine: Engine, library: FakeLibrary
) -> None:
    channel = engine.channel()
    replies = await asyncio.gather(*(channel.call(Operation.STATS, {"n": n}) for n in range(2500)))
    assert replies == [{"n": n} for n in range(2500)]
    assert library.submits == [1024, 1024, 452]


async def test_cancelling_a_call_cancels_it_in_the_library(
    engine: Engine, library: FakeLibrary
) -> None:
    task = await stuck(engine)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [channel] = library.channels.values()
    assert len(channel.cancelled) == 1
    assert await engine.channel().call(Operation.STATS, {"on": 1}) == {"on": 1}


async def test_a_call_that_is_cancelled_before_it_was_sent_never_is(
    engine: Engine, library: FakeLibrary
) -> None:
    channel = engine.channel()
    await channel.call(Operation.STATS, {})
    library.busy = 1
    task = asyncio.ensure_future(channel.call(Operation.STATS, {"n": 1}))
    await until(lambda: not library.busy)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await channel.call(Operation.STATS, {"n": 2})
    assert library.submits == [1, 1]
    assert library.channels[1].cancelled == []


async def test_what_a_cancelled_claim_had_already_won_is_put_back(
    engine: Engine, library: FakeLibrary
) -> None:
    released: list[dict[str, Any]] = []
    won = {"id": "x", "lease": {"epoch": 3, "token": "t"}, "name": "n"}

    def reply(operation: int, request: dict[str, Any]) -> dict[str, Any]:
        released.append({"operation": operation, **request})
        return {"ok": {"results": []}}

    library.reply = reply
    task = await stuck(engine, Operation.CLAIM)
    fake = library.channels[1]
    [token] = fake.in_flight
    fake.complete({"token": token, "reply": {"ok": {"executions": [won]}}})
    task.cancel()  # the reply is in the pipe, and nobody will look at it
    with pytest.raises(asyncio.CancelledError):
        await task
    fake.cancelled.clear()
    await until(lambda: bool(released))
    item = {"id": "x", "lease": won["lease"], "reason": "drain"}
    assert released == [{"operation": Operation.RELEASE, "items": [item]}]


async def test_a_raw_submit_answers_the_bytes_of_the_reply(
    engine: Engine, library: FakeLibrary
) -> None:
    channel = engine.channel()
    raw = [channel.submit(Operation.STATS, b'{"n": %d}' % n) for n in range(3)]
    cooked = asyncio.ensure_future(channel.call(Operation.STATS, {"n": 9}))
    replies = [json.loads(reply) for reply in await asyncio.gather(*raw)]
    assert [reply["ok"] for reply in replies] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert await cooked == {"n": 9}
    library.reply = refuse("internal")
    refused = await channel.submit(Operation.STATS, b"{}")
    assert refused == b'{"error": {"code": "internal", "message": "no x"}}'


async def test_cancelling_a_raw_submit_cancels_it_in_the_library(
    engine: Engine, library: FakeLibrary
) -> None:
    await engine.channel().call(Operation.STATS, {})
    future = engine.channel().submit(Operation.STATS, json.dumps(STUCK).encode())
    await until(lambda: bool(library.channels[1].in_flight))
    future.cancel()
    await until(lambda: bool(library.channels[1].cancelled))
    assert await engine.channel().call(Operation.STATS, {"on": 1}) == {"on": 1}


async def test_the_loop_goes_on_while_the_engine_opens(
    engine: Engine, library: FakeLibrary
) -> None:
    library.may_open.clear()
    calls = [
        asyncio.ensure_future(engine.channel().call(Operation.STATS, {"n": n})) for n in (1, 2)
    ]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(call.done() for call in calls)
    library.may_open.set()
    assert await asyncio.gather(*calls) == [{"n": 1}, {"n": 2}]


async def test_an_engine_that_cannot_open_fails_every_call_and_is_tried_again_at_the_next(
    engine: Engine, library: FakeLibrary
) -> None:
    library.open_error = DatabaseUnavailable("nobody there")
    calls = [engine.channel().call(Operation.STATS, {}) for _ in range(2)]
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(failure) for failure in failures] == [DatabaseUnavailable] * 2
    assert failures[0] is not failures[1]
    library.open_error = None
    assert await engine.channel().call(Operation.STATS, {"on": 1}) == {"on": 1}


async def test_completions_that_cannot_be_read_are_an_error_and_not_a_hang(
    engine: Engine, library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.channel().call(Operation.STATS, {})

    def drain(channel: int, most: int) -> tuple[int, bytes]:
        return 0, b'[{"token":2}]'

    monkeypatch.setattr(library, "drain", drain)
    with pytest.raises(Internal, match="cannot be read"):
        await engine.channel().call(Operation.STATS, {})


async def test_closing_the_engine_fails_what_is_in_flight_with_closed(engine: Engine) -> None:
    task = await stuck(engine)
    await asyncio.to_thread(engine.close)
    with pytest.raises(Closed):
        await task
    with pytest.raises(Closed):
        await engine.channel().call(Operation.STATS, {})


async def test_closing_the_channel_fails_what_is_in_flight_and_a_new_one_is_made(
    engine: Engine, library: FakeLibrary
) -> None:
    task = await stuck(engine)
    before = engine.channel()
    before.close()
    before.close()
    with pytest.raises(Closed):
        await task
    assert library.channels[1].closed
    assert engine.channel() is not before
    assert await engine.channel().call(Operation.STATS, {"on": 1}) == {"on": 1}


def test_the_channel_closes_with_its_loop(engine: Engine, library: FakeLibrary) -> None:
    async def main() -> Channel:
        await engine.channel().call(Operation.STATS, {})
        waiting = asyncio.ensure_future(engine.channel().call(Operation.STATS, STUCK))
        await until(lambda: bool(library.channels[1].in_flight))
        assert not waiting.done()
        return engine.channel()

    before = descriptors()
    channel = asyncio.run(main())
    assert channel.is_closed
    assert library.channels[1].closed
    library.channels[1].theirs.close()
    assert descriptors() == before


def test_a_loop_that_was_closed_without_a_word_is_found_at_the_next_use(
    engine: Engine, library: FakeLibrary
) -> None:
    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(one_call(engine))
        loop.close()
    gc.collect()
    assert [channel.closed for channel in library.channels.values()] == [True, True, False]


async def one_call(engine: Engine) -> None:
    await engine.channel().call(Operation.STATS, {})


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_two_loops_in_two_threads_have_a_channel_each(engine: Engine, library: FakeLibrary) -> None:
    met = threading.Barrier(2, timeout=10)
    results: list[list[Any]] = []

    async def main(name: str) -> None:
        channel = engine.channel()
        met.wait()
        calls = [channel.call(Operation.STATS, {name: n}) for n in range(500)]
        results.append(await asyncio.gather(*calls))
        assert results[-1] == [{name: n} for n in range(500)]

    threads = [threading.Thread(target=asyncio.run, args=(main(name),)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert len(library.channels) == 2
    assert len(library.configs) == 1


async def test_a_channel_belongs_to_a_running_loop(engine: Engine) -> None:
    def outside() -> None:
        with pytest.raises(RuntimeError):
            engine.channel()

    await asyncio.to_thread(outside)
    assert engine.channel() is engine.channel()


class WorkflowCode:
    """Stands for the workflow whose code a loop runs."""

    seed = 7

    def time(self) -> float:
        return 0.0

    def start_timer(self, delay: float, name: str, fire: Callable[[], None]) -> int:
        return 1

    def cancel_timer(self, sequence: int) -> None: ...


def test_a_call_inside_a_workflow_is_refused_with_a_hint(engine: Engine) -> None:
    loop = WorkflowLoop(WorkflowCode())
    loop.enter()
    try:
        for call in (engine.channel, lambda: engine.call(Operation.STATS, {})):
            with pytest.raises(NotDurableError, match="activity or a step"):
                call()
    finally:
        loop.leave()


async def test_a_fork_is_told_and_does_not_hang(engine: Engine, library: FakeLibrary) -> None:
    await engine.channel().call(Operation.STATS, {})
    library.forked = True
    with pytest.raises(Forked):
        await engine.channel().call(Operation.STATS, {})
    with pytest.raises(Forked):
        engine.call(Operation.STATS, {})
    library.forked = False
