"""Bodies that can be killed as a power cut would."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any

from .._discard import forget

_OWN_WAITS = {asyncio.locks.__file__, asyncio.queues.__file__}


class Body:
    """An async body. Killed, it runs none of its code any more, not even a `finally`.

    A body in a thread cannot be killed; its worker does not wait for it.
    """

    def __init__(self) -> None:
        self.is_killed = False
        self._coroutine: Coroutine[Any, Any, Any] | None = None

    def kill(self) -> None:
        """Has the body forgotten, at the next thing that happens to it."""
        self.is_killed = True

    def of(self, body: Coroutine[Any, Any, Any]) -> Any:
        """Answers an awaitable that runs the body."""
        self._coroutine = body
        return self._run(body)

    @property
    def may_hear_from_outside(self) -> bool:
        """Whether it may wait for a socket, a thread, a process.

        What waits in one of asyncio's own events, locks or queues waits for other code here.
        """
        waiting: Any = self._coroutine
        if waiting is None:
            return False  # it runs in a thread
        while (inner := getattr(waiting, "cr_await", None)) is not None and hasattr(
            inner, "cr_await"
        ):
            waiting = inner
        code = getattr(waiting, "cr_code", None)
        return code is None or code.co_filename not in _OWN_WAITS

    @coroutine
    def _run(self, body: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                awaited = body.send(value) if error is None else body.throw(error)
            except StopIteration as stop:
                return stop.value
            value = error = None
            try:
                value = yield awaited
            except BaseException as thrown:
                if self.is_killed:
                    forget(body)
                    raise
                error = thrown
            if self.is_killed:
                forget(body)
                raise _Killed


class _Killed(BaseException):
    """The worker that ran this body is dead."""
