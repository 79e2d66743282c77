"""What a worker writes: gathered for one turn of its event loop, and handed in together."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from typing import Any, Protocol

from ._errors import WorkflowsError
from ._operations import Operation
from ._payload import encoded
from ._wire_errors import fault_to_exception

log = logging.getLogger("workflows")

Json = dict[str, Any]
Answered = Callable[[Any, WorkflowsError | None], None]
Entry = tuple[str, Answered]

# Small enough that one slow item does not hold up many, large enough to be worth a request.
_MAX_ITEMS = 100
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_NOT_TAKEN = "the answer to a write could not be taken in"


class Sender(Protocol):
    """What carries requests that are JSON already."""

    def send(self, operation: Operation, request_json: bytes) -> asyncio.Future[Any]:
        """Hand in a request, and answer a future of what its reply has under "ok"."""
        ...


class Outbox:
    """Sends items of batch operations, and tells each what became of it.

    An item that cannot be written now is tried again until it is accepted or
    refused: the engine takes a repetition of the same write for the write.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Operation, list[Entry]] = {}
        self._sending: set[asyncio.Future[Any]] = set()
        self._pausing: set[asyncio.TimerHandle] = set()
        self._answered = asyncio.Event()

    def add(self, operation: Operation, item: str, answered: Answered) -> None:
        """Adds an item, in JSON. `answered` is called from the event loop, outside any task."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        entries = self._waiting.get(operation)
        if entries is None:
            entries = self._waiting[operation] = []
        entries.append((item, answered))

    async def flushed(self, timeout: float) -> None:  # noqa: ASYNC109
        """Waits until everything was answered, or for the timeout."""
        try:
            async with asyncio.timeout(timeout):
                while self._waiting or self._sending or self._pausing:
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            pass

    def close(self) -> None:
        """Gives up on what was not answered."""
        self._waiting.clear()
        for timer in self._pausing:
            timer.cancel()
        self._pausing.clear()
        for future in list(self._sending):
            future.cancel()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for operation, entries in waiting.items():
            for start in range(0, len(entries), _MAX_ITEMS):
                self._send(operation, entries[start : start + _MAX_ITEMS], _FIRST_PAUSE)

    def _send(self, operation: Operation, entries: list[Entry], pause: float) -> None:
        body = f'{{"items":[{",".join([item for item, _ in entries])}]}}'
        try:
            future = self._sender.send(operation, encoded(body))
        except WorkflowsError as error:  # the channel is closed
            future = self._loop.create_future()
            future.set_exception(error)
        self._sending.add(future)
        # As a callback it is outside any task: what it calls may run the code of workflows.
        future.add_done_callback(
            lambda done: self._replied(operation, entries, pause, done),
            context=contextvars.Context(),
        )

    def _replied(
        self, operation: Operation, entries: list[Entry], pause: float, done: asyncio.Future[Any]
    ) -> None:
        self._sending.discard(done)
        self._answered.set()
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            entries = self._answer(entries, done.result()["results"])
        elif not isinstance(error, WorkflowsError):
            raise error
        elif not error.retryable:
            self._refused(operation, entries, error)
            return
        else:
            log.warning("%s is tried again: %s", operation.name.lower(), error)
        if entries:
            self._later(operation, entries, pause)

    def _later(self, operation: Operation, entries: list[Entry], pause: float) -> None:
        def again() -> None:
            self._pausing.discard(timer)
            self._send(operation, entries, min(2 * pause, _LONGEST_PAUSE))

        timer = self._loop.call_later(pause, again)
        self._pausing.add(timer)

    def _refused(self, operation: Operation, entries: list[Entry], error: WorkflowsError) -> None:
        """A whole request was refused: alone, each item gets its own answer."""
        if len(entries) > 1 and error.code != "closed":
            for entry in entries:
                self._send(operation, [entry], _FIRST_PAUSE)
            return
        for _, answered in entries:
            _tell(answered, None, error)

    def _answer(self, entries: list[Entry], results: list[Json]) -> list[Entry]:
        """Tells each item its answer, and answers those to be tried again."""
        again: list[Entry] = []
        for entry, result in zip(entries, results, strict=True):
            fault = result.get("error")
            if fault is None:
                try:  # as `_tell`, without the call
                    entry[1](result.get("ok"), None)
                except Exception:
                    log.exception(_NOT_TAKEN)
            elif fault.get("retryable"):
                again.append(entry)
            else:
                _tell(entry[1], None, fault_to_exception(fault))
        return again


def _tell(answered: Answered, ok: Any, error: WorkflowsError | None) -> None:
    try:
        answered(ok, error)
    except Exception:  # the others have done nothing wrong
        log.exception(_NOT_TAKEN)
