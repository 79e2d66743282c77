"""A library that does what a test tells it."""

from __future__ import annotations

import itertools
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import workflows._library as native
from workflows import (
    Closed,
    Forked,
)
from workflows._engine import Engine
from workflows._errors import WorkflowsError

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


def fakes(engine: Engine) -> FakeLibrary:
    return cast("FakeLibrary", engine.open()[0])
