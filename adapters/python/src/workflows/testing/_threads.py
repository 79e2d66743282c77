"""Threads whose results come in the order in which the work was given, if they are quick."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_MOST = 32
# How long a result waits for those that were asked for before it. Bodies in tests are quick:
# then two runs of a test see them end in the same order.
_SETTLE = 0.02


class _Ticket(Future[Any]):
    """The result of some work, once it is handed out."""

    work: Future[Any]
    given_up = False

    def cancel(self) -> bool:
        """Takes the work back if no thread has begun it; nobody waits for it any more."""
        if self.work.cancel():
            return super().cancel()
        self.given_up = not self.done()
        return False

    def hand_out(self) -> None:
        """Gives the result to whoever waits."""
        if self.cancelled():
            return
        error = self.work.exception()
        if error is None:
            self.set_result(self.work.result())
        else:
            self.set_exception(error)


class Threads(ThreadPoolExecutor):
    """Runs blocking work; its results are handed out when the loop has nothing else to do.

    Args:
        wake: is called from a thread when some work is done.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__(_MOST, thread_name_prefix="workflows")
        self._wake = wake
        self._numbers = itertools.count()
        self._open: dict[int, _Ticket] = {}
        self._since: float | None = None
        self._blocked = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Gives work to a thread."""
        ticket = _Ticket()
        ticket.work = super().submit(fn, *args, **kwargs)
        self._open[next(self._numbers)] = ticket
        ticket.work.add_done_callback(lambda _: self._wake())
        return ticket

    async def answer(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs on the loop what a thread waits for; the loop does not wait for the thread then."""
        self._blocked += 1
        try:
            return await coroutine
        finally:
            self._blocked -= 1

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for work that a thread does."""
        return self._waiting() > self._blocked

    @property
    def works(self) -> bool:
        """Whether a thread does something, even if nobody waits for it any more."""
        return len(self._open) > self._blocked

    @property
    def settles_in(self) -> float | None:
        """How long to wait for the others, before what is done is handed out; None: for ever."""
        return None if self._since is None else max(0.0, self._since + _SETTLE - time.monotonic())

    def hand_out(self) -> bool:
        """Hands out results if all are there, or the others are slow; answers whether it did."""
        done = [n for n, ticket in self._open.items() if ticket.work.done()]
        waited = [n for n in done if not self._open[n].given_up]
        if len(waited) == len(done) and waited and len(waited) < self._waiting():
            self._since = self._since or time.monotonic()
            if self.settles_in:
                return False
        for number in done:
            self._open.pop(number).hand_out()
        if done:
            self._since = None
        return bool(done)

    def let_go(self) -> None:
        """Hands every result out as soon as it is there, from now on."""
        for ticket in self._open.values():
            ticket.work.add_done_callback(lambda _, ticket=ticket: ticket.hand_out())
        self._open.clear()

    def _waiting(self) -> int:
        return sum(not ticket.given_up for ticket in self._open.values())
