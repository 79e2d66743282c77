"""What a worker writes: gathered for one turn of its event loop, and handed in together."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ._errors import WorkflowsError
from ._operations import Operation
from ._wire_errors import fault_to_exception

log = logging.getLogger("workflows")

Json = dict[str, Any]
Answered = Callable[[Any, WorkflowsError | None], None]
Caller = Callable[[Operation, Mapping[str, Any]], Awaitable[Any]]

# Small enough that one slow item does not hold up many, large enough to be worth a request.
_MAX_ITEMS = 100
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0


class Outbox:
    """Sends items of batch operations, and tells each what became of it.

    An item that cannot be written now is tried again until it is accepted or
    refused: the engine takes a repetition of the same write for the write.
    """

    def __init__(self, call: Caller) -> None:
        self._call = call
        self._waiting: dict[Operation, list[tuple[Json, Answered]]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def add(self, operation: Operation, item: Json, answered: Answered) -> None:
        """Adds an item. `answered` is called from the event loop, outside any task."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.setdefault(operation, []).append((item, answered))

    async def flushed(self, timeout: float) -> None:  # noqa: ASYNC109
        """Waits until everything was answered, or for the timeout."""
        deadline = asyncio.get_running_loop().time() + timeout
        while self._waiting or self._sending:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return
            if self._sending:
                await asyncio.wait(self._sending, timeout=left)
            await asyncio.sleep(0)

    def close(self) -> None:
        """Gives up on what was not answered."""
        self._waiting.clear()
        for task in self._sending:
            task.cancel()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for operation, entries in waiting.items():
            for start in range(0, len(entries), _MAX_ITEMS):
                self._spawn(operation, entries[start : start + _MAX_ITEMS])

    def _spawn(self, operation: Operation, entries: list[tuple[Json, Answered]]) -> None:
        task = asyncio.get_running_loop().create_task(self._send(operation, entries))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, operation: Operation, entries: list[tuple[Json, Answered]]) -> None:
        pause = _FIRST_PAUSE
        while entries:
            try:
                reply = await self._call(operation, {"items": [item for item, _ in entries]})
            except WorkflowsError as error:
                if not error.retryable:
                    self._refused(operation, entries, error)
                    return
                log.warning("%s is tried again: %s", operation.name.lower(), error)
            else:
                entries = self._answer(entries, reply["results"])
            if entries:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _refused(
        self, operation: Operation, entries: list[tuple[Json, Answered]], error: WorkflowsError
    ) -> None:
        """A whole request was refused: alone, each item gets its own answer."""
        if len(entries) > 1 and error.code != "closed":
            for entry in entries:
                self._spawn(operation, [entry])
            return
        self._tell([(answered, None, error) for _, answered in entries])

    def _answer(
        self, entries: list[tuple[Json, Answered]], results: list[Json]
    ) -> list[tuple[Json, Answered]]:
        """Tells each item its answer, and answers those to be tried again."""
        again, told = list[tuple[Json, Answered]](), list[tuple[Answered, Any, Any]]()
        for entry, result in zip(entries, results, strict=True):
            fault = result.get("error")
            if fault is None:
                told.append((entry[1], result.get("ok"), None))
            elif fault.get("retryable"):
                again.append(entry)
            else:
                told.append((entry[1], None, fault_to_exception(fault)))
        self._tell(told)
        return again

    def _tell(self, told: list[tuple[Answered, Any, Any]]) -> None:
        """Calls back outside this task: what is called may run the code of workflows."""
        asyncio.get_running_loop().call_soon(_tell_all, told, context=contextvars.Context())


def _tell_all(told: list[tuple[Answered, Any, Any]]) -> None:
    for answered, ok, error in told:
        try:
            answered(ok, error)
        except Exception:  # the others have done nothing wrong
            log.exception("the answer to a write could not be taken in")
