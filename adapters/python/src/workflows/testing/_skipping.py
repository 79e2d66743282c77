"""Skipping time: an asyncio loop whose clock jumps to what is due when nothing runs.

The clock stands still while code runs. When the loop has nothing to do, it goes to what
is due next: a timer of the loop, such as `asyncio.sleep` in a body, or something of the
engine, such as a durable timer or the next attempt. While a body works in a thread, or
awaits something from outside, such as a socket, time goes no faster than on the wall;
once nothing has been heard for a while, it is skipped all the same.
"""

# asyncio has no public way to change the clock or the selector of a loop that runs.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import contextlib
import selectors
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from ._bodies import Body
from ._engine import MemoryEngine
from ._threads import Threads

_RESOLUTION = 1e-6
_GRACE = 0.02  # how long the sockets of a test's own loop are listened to
_SLEEP: Any = vars(asyncio.futures)["_set_result_unless_cancelled"]  # what ends asyncio.sleep


class Watcher(Protocol):
    """Who is asked before time is skipped."""

    def look(self) -> bool:
        """Sees to what has come true, and answers whether there was something."""
        ...

    def stuck(self) -> bool:
        """Told that nothing is due; answers whether somebody was waiting."""
        ...

    def over(self, at: int) -> bool:
        """Told what comes next; answers whether that was too late for somebody who waits."""
        ...


class _Selector:
    """A selector that has time skipped when nothing is ready."""

    def __init__(self, inner: selectors.BaseSelector, skipping: Skipping) -> None:
        self.inner = inner
        self._skipping = skipping

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def select(self, timeout: float | None = None) -> list[Any]:
        """Answers what is ready, or skips time."""
        ready = self.inner.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        return self._skipping.idle(self.inner, timeout)


class _OwnLoop(asyncio.SelectorEventLoop):
    """A loop of an environment's own."""

    def __init__(self, skipping: Skipping) -> None:
        selector = _Selector(selectors.DefaultSelector(), skipping)
        super().__init__(cast("selectors.BaseSelector", selector))
        self._clock_resolution = _RESOLUTION
        self._skipping = skipping

    def time(self) -> float:
        """Answers the environment's time."""
        return self._skipping.time()


class Skipping:
    """The time of one environment, and the loop that goes by it.

    Args:
        engine: whose clock it is.
        watcher: is asked before time is skipped.
        bodies: answers the async bodies that may wait for something outside.
        patience: how long a body may wait for something outside in silence.
    """

    def __init__(
        self,
        engine: MemoryEngine,
        watcher: Watcher,
        bodies: Callable[[], set[Body]],
        patience: float,
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.is_own = False
        self.threads = Threads(self.wake)
        self._engine = engine
        self._watcher = watcher
        self._bodies = bodies
        self._silent: set[Body] = set()
        self._patience = patience
        self._base = 0.0
        self._waited = 0.0
        self._sockets = 1
        self._former: tuple[float, Any] = (_RESOLUTION, None)

    def time(self) -> float:
        """Answers the loop's time."""
        return self._base + self._engine.clock.seconds

    def wake(self) -> None:
        """Makes the loop look around, from any thread."""
        loop = self.loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(_nothing)

    # --- loops ---

    def open(self) -> asyncio.AbstractEventLoop:
        """Makes a loop of the environment's own."""
        loop = _OwnLoop(self)
        self._base = -self._engine.clock.seconds  # it begins at 0
        loop.set_default_executor(self.threads)
        self.loop, self.is_own = loop, True
        self._sockets = len(cast(Any, loop)._selector.get_map())
        return loop

    def take_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes a running loop go by this time.

        Raises:
            RuntimeError: it is no selector loop of asyncio, such as one of uvloop.
        """
        if not isinstance(loop, asyncio.SelectorEventLoop):
            raise RuntimeError(
                f"time cannot be skipped on {type(loop).__module__}.{type(loop).__name__}; run the"
                " test on asyncio's own loop, or not in async code, with env.run()"
            )
        ours = cast(Any, loop)
        self._base = loop.time() - self._engine.clock.seconds
        self._sockets = len(ours._selector.get_map())
        ours._selector = _Selector(ours._selector, self)
        ours.time = self.time
        self._former = ours._clock_resolution, ours._default_executor
        ours._clock_resolution, ours._default_executor = _RESOLUTION, self.threads
        self.loop, self.is_own = loop, False

    def give_back(self) -> None:
        """Lets the loop go by the clock on the wall again; its time does not go back."""
        loop, self.loop = self.loop, None
        self.threads.let_go()
        if loop is None or self.is_own:
            return
        ours = cast(Any, loop)
        ahead = ours.time() - time.monotonic()
        ours.time = lambda: time.monotonic() + ahead
        ours._clock_resolution, ours._default_executor = self._former
        if isinstance(ours._selector, _Selector):
            ours._selector = ours._selector.inner

    # --- when nothing is ready ---

    def idle(self, inner: selectors.BaseSelector, timeout: float | None) -> list[Any]:
        """Skips to what is due next, or waits for threads and sockets."""
        if timeout is not None and timeout < _RESOLUTION / 2:
            return []  # it is due: what is left is the error of a float
        if self.threads.hand_out() or self._watcher.look():
            return []
        engine = self._engine
        due = engine.agenda.next()
        until = None if timeout is None else engine.clock.now + max(1, round(timeout * 1e6))
        if due is not None:
            until = due.at if until is None else min(until, due.at)
        if self.threads.awaited:
            return self._wait(inner, until, self.threads.settles_in)
        if silence := self._silence(inner):
            began = time.monotonic()
            ready = self._wait(inner, until, silence)
            if ready or time.monotonic() < began + silence:
                return ready
            self._silent = self._bodies()
        if until is None and self.threads.works and (ready := inner.select(self._patience)):
            return ready
        if until is None:
            return [] if self._watcher.stuck() else inner.select(None)
        if not self._watcher.over(until):
            self._jump(until)
        return []

    def _silence(self, inner: selectors.BaseSelector) -> float:
        """Answers how long nothing has to be heard before time is skipped."""
        waiting = self._bodies() - self._silent
        if waiting:
            timers = cast("list[asyncio.TimerHandle]", cast(Any, self.loop)._scheduled)
            sleeps = sum(t._callback is _SLEEP and not t.cancelled() for t in timers)
            if len(waiting) > sleeps:
                return self._patience
        return _GRACE if not self.is_own and len(inner.get_map()) > self._sockets else 0.0

    def _wait(
        self, inner: selectors.BaseSelector, until: int | None, at_most: float | None
    ) -> list[Any]:
        """Waits at the pace of the wall for something to be ready, or to be due."""
        left = None
        if until is not None:
            left = max(0.0, (until - self._engine.clock.now) / 1e6 - self._waited)
        pause = left if at_most is None else at_most if left is None else min(left, at_most)
        began = time.monotonic()
        ready = inner.select(pause)
        self._waited += time.monotonic() - began
        if until is not None and left is not None and not ready and pause == left:
            self._jump(until)
        return ready

    def _jump(self, to: int) -> None:
        self._waited = 0.0
        with self._engine.lock:
            self._engine.advance_to(to)


def _nothing() -> None:
    """Makes a loop go round once."""
