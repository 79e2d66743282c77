"""Channels: descriptors, drains, cancels, limits, and closing under load."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time

import pytest
from abi_host import (
    BUSY,
    CLOSED,
    INVALID_ARGUMENT,
    NOBODY,
    OK,
    TIMEOUT,
    Channel,
    Host,
    frame,
    readable,
    refused,
)

LONG = json.dumps({"id": NOBODY, "wait_ms": 600_000}).encode()


@pytest.fixture
def execution(host: Host, engine: int) -> str:
    """Make an execution that nobody runs, to wait for."""
    request = b'{"items":[{"kind":"job","name":"abi","queue":"nobody"}]}'
    reply = host.call(engine, "create_execution", request)
    return reply.body["ok"]["results"][0]["id"]


def long_wait(token: int, execution: str) -> bytes:
    request = json.dumps({"id": execution, "wait_ms": 600_000}).encode()
    return frame(token, "wait_execution", request)


def test_a_byte_announces_completions(channel: Channel) -> None:
    fd = channel.fd()
    try:
        for _ in range(3):
            assert not readable(fd)
            assert channel.submit(refused(range(100))) == OK
            assert readable(fd, 10)
            channel.settle(100)
            assert os.read(fd, 100) == b"\x01"  # one for all of them
            assert channel.drain(99)[0] == 1
            assert not readable(fd)
            assert channel.drain(99)[0] == 0
    finally:
        os.close(fd)


def test_a_descriptor_suits_an_event_loop(channel: Channel) -> None:
    fd = channel.fd()
    assert not os.get_blocking(fd)
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    with socket.socket(fileno=fd) as connection:
        assert connection.family == socket.AF_UNIX


def test_each_descriptor_is_the_callers(channel: Channel) -> None:
    first, second = channel.fd(), channel.fd()
    os.close(first)
    assert channel.submit(refused([1, 2])) == OK
    channel.settle(2)
    late = channel.fd()
    assert [os.read(second, 9), os.read(late, 9)] == [b"\x01", b"\x01"]
    assert channel.close() == OK
    assert [os.read(second, 9), os.read(late, 9)] == [b"", b""]  # the end
    os.close(second)
    os.close(late)


def test_closing_the_engine_ends_the_descriptor(host: Host, config: bytes) -> None:
    _, engine, _ = host.open(config)
    channel = host.channel(engine)
    fd = channel.fd()
    assert channel.submit(refused([1])) == OK
    channel.settle(1)
    assert host.c.wf_close(engine, 0) == OK
    assert os.read(fd, 9) == b"\x01"
    assert os.read(fd, 9) == b""
    assert channel.submit(refused([2])) == CLOSED
    assert channel.wait(0) == OK
    assert [c["token"] for c in channel.drain()[1]] == [1]
    assert channel.drain() == (CLOSED, [])
    assert channel.wait(0) == CLOSED
    assert channel.close() == OK
    os.close(fd)


def test_a_drain_takes_at_most_what_is_asked(channel: Channel) -> None:
    assert channel.submit(refused(range(300))) == OK
    channel.settle(300)
    for most, want, left in [(0, 0, 300), (1, 1, 299), (128, 128, 171), (2**32 - 1, 171, 0)]:
        got = channel.drain(most)
        assert (got[0], len(got[1])) == (left, want)


def test_a_completion_is_announced_once_for_a_wait(channel: Channel) -> None:
    assert channel.wait(0) == TIMEOUT
    started = time.monotonic()
    assert channel.wait(50) == TIMEOUT
    assert time.monotonic() - started >= 0.05
    assert channel.submit(refused([1])) == OK
    assert channel.wait(-1) == OK
    assert channel.wait(0) == OK  # nobody has drained it
    channel.drain()
    assert channel.wait(0) == TIMEOUT


def test_a_token_is_in_use_until_it_is_drained(channel: Channel) -> None:
    assert channel.submit(refused([5])) == OK
    channel.settle(1)
    assert channel.submit(refused([4, 5])) == INVALID_ARGUMENT
    channel.drain()
    assert channel.submit(refused([4, 5])) == OK
    assert set(channel.await_(2)) == {4, 5}


def test_busy_takes_nothing(channel: Channel) -> None:
    limit = 65_536
    assert channel.submit(refused(range(limit - 10))) == OK
    assert channel.submit(refused(range(limit - 10, limit + 1))) == BUSY
    assert channel.submit(refused(range(limit - 10, limit))) == OK  # so none of them was taken
    assert channel.submit(refused([limit])) == BUSY
    seen: set[int] = set()
    while len(seen) < limit:
        assert channel.wait() == OK
        seen.update(completion["token"] for completion in channel.drain(10_000)[1])
    assert channel.submit(refused([limit])) == OK


def test_a_cancelled_request_completes_once(channel: Channel, execution: str) -> None:
    assert channel.submit(*(long_wait(token, execution) for token in range(100))) == OK
    assert channel.wait(100) == TIMEOUT
    for _ in range(3):
        for token in range(0, 100, 2):
            assert channel.cancel(token) == OK
    done = channel.await_(50)
    assert set(done) == set(range(0, 100, 2))
    assert {reply.code for reply in done.values()} == {"cancelled"}
    assert channel.wait(50) == TIMEOUT
    for token in [0, 12345, 2**53, 2**64 - 1]:
        assert channel.cancel(token) == OK  # not in use


def test_cancels_race_completions(channel: Channel) -> None:
    def cancel() -> None:
        for token in range(3000):
            channel.cancel(token)

    thread = threading.Thread(target=cancel)
    thread.start()
    for token in range(3000):
        assert channel.submit(refused([token])) == OK
    assert len(channel.await_(3000)) == 3000
    thread.join()


def test_closing_completes_what_is_in_flight(host: Host, config: bytes, execution: str) -> None:
    _, engine, _ = host.open(config)
    channel = host.channel(engine)
    assert channel.submit(*(long_wait(token, execution) for token in range(50))) == OK
    replies: list[str] = []
    request = json.dumps({"id": execution, "wait_ms": 600_000}).encode()
    threads = [
        threading.Thread(
            target=lambda: replies.append(host.call(engine, "wait_execution", request).code)
        )
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    assert channel.wait(200) == TIMEOUT
    started = time.monotonic()
    assert host.c.wf_close(engine, 300) == OK
    assert 0.3 <= time.monotonic() - started < 5
    for thread in threads:
        thread.join()
    assert replies == ["closed"] * 5
    assert {reply.code for reply in channel.await_(50).values()} == {"closed"}
    assert channel.drain() == (CLOSED, [])
    assert channel.close() == OK


def test_closing_a_channel_wakes_its_waits(host: Host, engine: int, execution: str) -> None:
    channel = host.channel(engine)
    assert channel.submit(long_wait(1, execution)) == OK
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(channel.wait(-1))) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert channel.close() == OK
    for thread in threads:
        thread.join(10)
    assert codes == [CLOSED] * 3


def test_many_threads_share_a_channel(channel: Channel) -> None:
    def submit(first: int) -> None:
        for token in range(first, first + 500):
            assert channel.submit(refused([token])) == OK

    threads = [threading.Thread(target=submit, args=(i * 1000,)) for i in range(8)]
    for thread in threads:
        thread.start()
    assert len(channel.await_(4000)) == 4000
    for thread in threads:
        thread.join()


def test_engines_close_one_by_one(host: Host, config: bytes, engine: int) -> None:
    _, other, _ = host.open(config)
    assert host.c.wf_close(other, 0) == OK
    assert host.call(engine, "stats", b"{}").code == ""


def test_handles_and_descriptors_do_not_leak(host: Host, config: bytes, engine: int) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for _ in range(200):
        channel = host.channel(engine)
        os.close(channel.fd())
        kept = channel.fd()
        channel.submit(refused([1, 2, 3]))
        assert channel.close() == OK
        os.close(kept)
    assert descriptors() <= before + 2
