"""Channels, over which event loops talk to an engine.

A loop's requests are packed and handed in once a tick. Replies are announced by a
byte in a pipe that the loop watches, and taken 128 at a time. Nothing on a loop ever
blocks, the opening of an engine included, and the library never calls back.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import os
import struct
import threading
from collections.abc import AsyncGenerator, Mapping
from types import CoroutineType
from typing import Any, Protocol, cast

from . import _library, _payload
from ._errors import Closed, Internal, WorkflowsError
from ._library import Library
from ._operations import Operation
from ._wire_errors import fault_to_exception

_HEADER = struct.Struct("<QIHH")  # token, length, operation, zero

_DRAIN_AT_ONCE = 128
_SUBMIT_AT_ONCE = 1024
BUSY_PAUSE = 0.01


class Home(Protocol):
    """What a channel needs of its engine."""

    @property
    def is_open(self) -> bool:
        """Say whether the engine is connected already."""
        ...

    def open(self) -> tuple[Library, int]:
        """Connect, if that was not done."""
        ...

    def forget(self, channel: Channel) -> None:
        """Drop a channel that has closed."""
        ...


class Channel:
    """What carries the calls of one asyncio loop. Use it on that loop's thread only.

    Example:
        >>> async def main():
        ...     stats = await Engine.shared().channel().call(Operation.STATS, {})
        ...     print(stats["server_version"])
    """

    def __init__(self, engine: Home, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._engine = engine
        self._library: Library | None = None
        self._handle = 0
        self._fd = -1
        self._closed = False
        self._opening = False
        self._tokens = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._raw: set[int] = set()
        self._unsent: dict[int, bytes] = {}
        self._at_once = _SUBMIT_AT_ONCE
        self._flush_due = False
        self._drain_due = False
        self._cancelled_claims: set[int] = set()
        self._lifeline: AsyncGenerator[None, None] | None = None

    @property
    def is_closed(self) -> bool:
        """Say whether the channel takes no more calls."""
        return self._closed

    def call(
        self, operation: Operation, request: Mapping[str, Any]
    ) -> CoroutineType[Any, Any, Any]:
        """Perform an operation and answer what its reply has under "ok".

        Cancelling the task that awaits it asks the library to stop. A write that was
        cancelled may have happened all the same; a claim puts back what it had won.

        Args:
            operation: which one.
            request: its request; the payloads in it must be plain JSON.

        Raises:
            WorkflowsError: the operation failed; the class follows from the fault's code.
            PayloadError: the request is not plain JSON.
        """
        return self.perform(operation, _payload.dump_request(request))

    async def perform(self, operation: Operation, request_json: bytes) -> Any:
        """Do what `call` does, with a request that is JSON already."""
        token, future = self._send(operation, request_json)
        try:
            return await future
        except asyncio.CancelledError:
            self._abandon(token, future, operation)
            raise

    def submit(self, operation: Operation, request_json: bytes) -> asyncio.Future[bytes]:
        """Hand in a request as it is, and answer a future of the reply as it comes.

        The reply is {"ok": ...} or {"error": ...}, byte for byte: a fault does not raise
        here. Cancelling the future cancels the request.
        """
        token, future = self._send(operation, request_json)
        self._raw.add(token)
        self._watch(token, future, operation)
        return future

    def send(self, operation: Operation, request_json: bytes) -> asyncio.Future[Any]:
        """Hand in a request that is JSON already, and answer a future of what `call` answers.

        Cancelling the future cancels the request.
        """
        token, future = self._send(operation, request_json)
        self._watch(token, future, operation)
        return future

    # --- sending ---

    def _send(self, operation: Operation, body: bytes) -> tuple[int, asyncio.Future[Any]]:
        if self._closed:
            raise Closed("the channel was closed")
        token = next(self._tokens)
        future = self._pending[token] = self.loop.create_future()
        self._unsent[token] = frame(token, operation, body)
        if not self._flush_due:
            self._flush_soon()
        return token, future

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if not self._unsent or self._closed:
            return
        if self._library is None:
            self._connect()
            return
        frames = self._unsent
        some = list(itertools.islice(frames, self._at_once)) if len(frames) > self._at_once else []
        packed = b"".join(map(frames.__getitem__, some) if some else frames.values())
        code = self._library.submit(self._handle, packed)
        if code == _library.BUSY:
            # It takes all or nothing, so ask for less; and for replies may be long in coming.
            self._at_once = max(1, (len(some) or len(frames)) // 2)
            self.loop.call_later(BUSY_PAUSE, self._flush_soon)
            return
        if code != _library.OK:
            self._fail_sent(some or list(frames), self._library.failure(code))
        elif not some:
            frames.clear()
            self._at_once = min(2 * self._at_once, _SUBMIT_AT_ONCE)
            return
        for token in some or list(frames):
            del frames[token]
        if frames:
            self._flush_soon()

    def _fail_sent(self, tokens: list[int], error: WorkflowsError) -> None:
        for token in tokens:
            self._settle_error(self._pending.pop(token, None), error)
            self._raw.discard(token)

    # --- connecting ---

    def _connect(self) -> None:
        if self._opening:
            return
        if self._engine.is_open:
            self._attach()
            return
        self._opening = True
        # A thread of the loop's executor would be waited for when the process ends.
        threading.Thread(target=self._open_engine, name="workflows-open", daemon=True).start()

    def _open_engine(self) -> None:
        error: WorkflowsError | None = None
        try:
            self._engine.open()
        except WorkflowsError as failure:
            error = failure
        except Exception as failure:
            error = WorkflowsError(f"the engine could not be opened: {failure}")
            error.__cause__ = failure
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self.loop.call_soon_threadsafe(self._opened, error)

    def _opened(self, error: WorkflowsError | None) -> None:
        self._opening = False
        if self._closed:
            return
        if error is None:
            self._attach()
        else:
            self._fail_sent(list(self._unsent), error)
            self._unsent.clear()

    def _attach(self) -> None:
        try:
            library, engine = self._engine.open()
            self._handle = library.channel_open(engine)
            self._fd = library.channel_fd(self._handle)
        except WorkflowsError as error:
            self._fail_sent(list(self._unsent), error)
            self._unsent.clear()
            return
        self._library = library
        os.set_blocking(self._fd, False)
        self.loop.add_reader(self._fd, self._readable)
        self._lifeline = self._until_shutdown()
        with contextlib.suppress(StopIteration):
            self._lifeline.__anext__().send(None)  # from here on the loop knows it
        self._flush()

    async def _until_shutdown(self) -> AsyncGenerator[None, None]:
        """Close the channel when the loop closes its asynchronous generators.

        A loop that ends tells nobody else; `asyncio.run` and its like do close them.
        """
        try:
            yield
        finally:
            self.close()

    # --- receiving ---

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 4096)  # before draining: a byte in between is a new announcement
        self._drain()

    def _drain(self) -> None:
        self._drain_due = False
        if self._library is None or self._closed:
            return
        remaining, data = self._library.drain(self._handle, _DRAIN_AT_ONCE)
        try:
            if data:
                self._deliver(data.decode())
        except Exception as error:  # whoever waits is told, rather than left waiting
            self.close(Internal(f"the library gave completions that cannot be read: {error!r}"))
            return
        if remaining < 0:
            self.close(self._library.failure(remaining))
        elif remaining > 0 and not self._drain_due:
            # Rescheduled, not looped, so that whoever was answered runs before more is taken.
            self._drain_due = True
            self.loop.call_soon(self._drain)
        if self._unsent:
            self._flush_soon()

    def _deliver(self, data: str) -> None:
        if not self._raw:
            pending = self._pending
            for completion in _payload.load_reply(data):
                token, reply = completion["token"], completion["reply"]
                future = pending.get(token)
                if future is None or "ok" not in reply or future.done():
                    self._settle(token, reply)
                else:  # as nearly all are
                    del pending[token]
                    future.set_result(reply["ok"])
            return
        for text in _payload.split_array(data):
            completion = _payload.load_reply(text)
            token = completion["token"]
            if token not in self._raw:
                self._settle(token, completion["reply"])
                continue
            self._raw.discard(token)
            future = self._pending.pop(token)
            if not future.done():
                # {"token":7,"reply":{...}}, as it came
                future.set_result(text[text.index("{", 1) : -1].encode())

    def _settle(self, token: int, reply: Mapping[str, Any]) -> None:
        future = self._pending.pop(token, None)
        if future is None or future.done():
            if token in self._cancelled_claims:
                self._cancelled_claims.discard(token)
                self._put_back(reply.get("ok"))
        elif "ok" in reply:
            future.set_result(reply["ok"])
        else:
            future.set_exception(fault_to_exception(reply["error"]))

    @staticmethod
    def _settle_error(future: asyncio.Future[Any] | None, error: WorkflowsError) -> None:
        if future is not None and not future.done():
            future.set_exception(copy.copy(error))  # each raises its own, with its own traceback

    # --- cancelling ---

    def _watch(self, token: int, future: asyncio.Future[Any], operation: Operation) -> None:
        def cancel(done: asyncio.Future[Any]) -> None:
            if done.cancelled():
                self._abandon(token, done, operation)

        future.add_done_callback(cancel)

    def _abandon(self, token: int, future: asyncio.Future[Any], operation: Operation) -> None:
        if self._pending.pop(token, None) is None:
            if operation is Operation.CLAIM and not future.cancelled() and not future.exception():
                self._put_back(future.result())
            return
        self._raw.discard(token)
        if self._unsent.pop(token, None) is not None or self._closed:
            return
        if operation is Operation.CLAIM:
            self._cancelled_claims.add(token)
        if self._library is not None:
            self._library.cancel(self._handle, token)

    def _put_back(self, claimed: Any) -> None:
        """Release what a claim had won before its cancellation reached the library."""
        if isinstance(claimed, bytes):
            claimed = _payload.load_reply(claimed.decode()).get("ok")
        reply = cast("dict[str, Any]", claimed or {})
        held: list[dict[str, Any]] = reply.get("executions") or []
        if not held or self._closed:
            return
        items = [{"id": one["id"], "lease": one["lease"], "reason": "drain"} for one in held]
        _, future = self._send(Operation.RELEASE, _payload.dump_request({"items": items}))
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    # --- closing ---

    def close(self, reason: WorkflowsError | None = None) -> None:
        """Close the channel; what is in flight is cancelled and raises Closed.

        Closing again changes nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._engine.forget(self)
        if self._fd >= 0:
            if not self.loop.is_closed():
                self.loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._library is not None and self._handle:
            self._library.channel_close(self._handle)
        if not self.loop.is_closed():
            error = reason or Closed("the channel was closed while the call was on its way")
            for future in self._pending.values():
                self._settle_error(future, error)
        self._pending.clear()
        self._unsent.clear()


def frame(token: int, operation: Operation, body: bytes) -> bytes:
    """Pack a request for the library."""
    return _HEADER.pack(token, len(body), operation, 0) + body
