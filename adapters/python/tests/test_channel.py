"""Channels and engines, against a library that does what a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import workflows._library as native
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
from workflows._errors import WorkflowsError
from workflows._library import Library
from workflows._loop import WorkflowLoop
from workflows._operations import Operation

HEADER = struct.Struct("<QIHH")
STUCK: dict[str, Any] = {"never": "answered"}


class FakeChannel:
    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ready: list[dict[str, Any]] = []
        self.in_flight: dict[int, tuple[int, dict[str, Any]]] = {}
        self.cancelled: list[int] = []
        self.closed = False

    def complete(self, *replies: dict[str, Any]) -> None:
        replies = tuple(r for r in replies if self.in_flight.pop(r["token"], None))
        first = not self.ready
        self.ready += replies
        if first and replies and not self.closed:
            self.ours.send(b"!")

    def close(self) -> None:
        self.closed = True
        self.ours.close()


class FakeLibrary:
    """Answers each request with itself, unless it is STUCK or `reply` says otherwise."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.channels: dict[int, FakeChannel] = {}
        self.handles = itertools.count(1)
        self.submits: list[int] = []  # how many requests each successful submit had
        self.configs: list[dict[str, Any]] = []
        self.busy = 0  # how many submits are refused
        self.most = 10**9  # how many requests a submit may have
        self.forked = False
        self.open_error: WorkflowsError | None = None
        self.may_open = threading.Event()
        self.may_open.set()
        self.closed: list[int] = []
        self.drains: list[int] = []
        self.reply: Callable[[int, dict[str, Any]], dict[str, Any]] = echo

    def check_fork(self) -> None:
        if self.forked:
            raise Forked("forked")

    def failure(self, code: int) -> WorkflowsError:
        return {native.CLOSED: Closed, native.FORKED: Forked}[code]("from the library")

    def open(self, config: bytes) -> int:
        assert self.may_open.wait(10)
        if self.open_error is not None:
            raise self.open_error
        self.configs.append(json.loads(config))
        return len(self.configs)

    def close(self, engine: int, grace_ms: int) -> int:
        self.closed.append(engine)
        for channel in self.channels.values():
            replies = [
                {"token": token, "reply": {"error": {"code": "closed", "message": "closed"}}}
                for token in channel.in_flight
            ]
            channel.complete(*replies)
            channel.close()
        return 0

    def channel_open(self, engine: int) -> int:
        handle = next(self.handles)
        self.channels[handle] = FakeChannel()
        return handle

    def channel_close(self, channel: int) -> int:
        self.channels[channel].close()
        return 0

    def channel_fd(self, channel: int) -> int:
        return os.dup(self.channels[channel].theirs.fileno())

    def submit(self, channel: int, packed: bytes) -> int:
        if self.forked:
            return native.FORKED
        requests = list(unpack(packed))
        if self.busy or len(requests) > self.most:
            self.busy = max(0, self.busy - 1)
            return native.BUSY
        at = self.channels[channel]
        if at.closed:
            return native.CLOSED
        self.submits.append(len(requests))
        replies: list[dict[str, Any]] = []
        for token, operation, request in requests:
            assert token not in at.in_flight
            at.in_flight[token] = operation, request
            if request != STUCK:
                replies.append({"token": token, "reply": self.reply(operation, request)})
        at.complete(*replies)
        return 0

    def drain(self, channel: int, most: int) -> tuple[int, bytes]:
        at = self.channels[channel]
        taken, at.ready = at.ready[:most], at.ready[most:]
        self.drains.append(len(taken))
        remaining = len(at.ready) or (native.CLOSED if at.closed else 0)
        return remaining, json.dumps(taken).encode() if taken else b""

    def wait(self, channel: int, timeout_ms: int) -> int:
        at = self.channels[channel]
        if at.ready:
            return 0
        return native.CLOSED if at.closed else native.TIMEOUT

    def cancel(self, channel: int, token: int) -> int:
        at = self.channels[channel]
        at.cancelled.append(token)
        at.complete({"token": token, "reply": refuse("cancelled")(0, {})})
        return 0


def echo(_: int, request: dict[str, Any]) -> dict[str, Any]:
    return {"ok": request}


def refuse(code: str) -> Callable[[int, dict[str, Any]], dict[str, Any]]:
    def reply(_: int, request: dict[str, Any]) -> dict[str, Any]:
        return {"error": {"code": code, "message": "no x"}}

    return reply


def unpack(packed: bytes) -> Iterator[tuple[int, int, dict[str, Any]]]:
    at = 0
    while at < len(packed):
        token, length, operation, zero = HEADER.unpack_from(packed, at)
        assert zero == 0
        at += HEADER.size + length
        yield token, operation, json.loads(packed[at - length : at])


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


def fakes(engine: Engine) -> FakeLibrary:
    return cast("FakeLibrary", engine.open()[0])


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


def test_a_blocking_call_works_without_a_loop_and_reuses_its_channel(
    engine: Engine, library: FakeLibrary
) -> None:
    assert [engine.call(Operation.STATS, {"n": n}) for n in range(3)] == [
        {"n": n} for n in range(3)
    ]
    assert len(library.channels) == 1
    library.busy = 2
    assert engine.call(Operation.STATS, {"n": 4}) == {"n": 4}
    library.reply = refuse("execution_not_found")
    with pytest.raises(ExecutionNotFound):
        engine.call(Operation.STATS, {})


def test_ctrl_c_ends_a_blocking_call_between_two_slices_and_cancels_it(
    engine: Engine, library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices: list[int] = []

    def wait(channel: int, timeout_ms: int) -> int:
        slices.append(timeout_ms)
        if len(slices) == 3:
            raise KeyboardInterrupt
        return native.TIMEOUT

    monkeypatch.setattr(library, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        engine.call(Operation.STATS, STUCK)
    assert max(slices) <= 100
    assert library.channels[1].closed


def test_a_closed_engine_refuses_blocking_calls(engine: Engine) -> None:
    engine.call(Operation.STATS, {})
    engine.close()
    engine.close()
    with pytest.raises(Closed):
        engine.call(Operation.STATS, {})


def test_engines_are_shared_by_configuration_until_the_last_close() -> None:
    a = Engine.shared("postgres:///shared", schema="x")
    b = Engine.shared("postgres:///shared", schema="x")
    other = Engine.shared("postgres:///shared", schema="y")
    assert a is b
    assert other is not a
    a.close()
    assert Engine.shared("postgres:///shared", schema="x") is b
    for engine in (b, b, other):
        engine.close()
    again = Engine.shared("postgres:///shared", schema="x")
    assert again is not a
    again.close()


def test_the_environment_fills_what_was_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKFLOWS_DATABASE_URL", "postgres:///env")
    monkeypatch.setenv("WORKFLOWS_SCHEMA", "env_schema")
    monkeypatch.delenv("WORKFLOWS_LISTEN_URL", raising=False)
    with contextlib.closing(Engine.shared()) as engine:
        assert engine.config == {"database_url": "postgres:///env", "schema": "env_schema"}
    with contextlib.closing(Engine.shared("postgres:///given", schema="given")) as engine:
        assert engine.config == {"database_url": "postgres:///given", "schema": "given"}


@pytest.mark.parametrize("url", [None, "embedded:", "embedded:/tmp/x"])
def test_an_embedded_database_is_told_of_the_binaries_that_were_found(
    url: str | None, library: FakeLibrary
) -> None:
    config = {} if url is None else {"database_url": url}
    with contextlib.closing(Engine(config, library=cast("Library", library))) as engine:
        engine.open()
    [binaries] = library.configs[0]["postgres_binaries"]
    assert os.access(os.path.join(binaries, "postgres"), os.X_OK)


def test_a_real_database_is_not(engine: Engine, library: FakeLibrary) -> None:
    engine.open()
    assert library.configs == [{"database_url": "postgres:///x"}]
