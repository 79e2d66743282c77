"""Those who wait in an environment: for an end, a condition, work, or for nothing to run."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from .._settings import Duration, seconds
from ._clock import instant
from ._engine import MemoryEngine
from ._errors import Endless, Stuck
from ._rows import Json, Row
from ._troubles import Troubles
from ._waits import Waits

_SCRIPT = 9  # what a test has planned comes after everything else of that instant


class Host(Protocol):
    """What those who wait need of their environment."""

    def soon(self, act: Callable[[], Any]) -> bool:
        """Has something called by the loop, if there is one."""
        ...

    def prove(self, rows: Iterable[Row]) -> None:
        """Proves workflows deterministic."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """What keeps the worker from going on."""
        ...


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody who waits: for the end of an execution, or, without one, for whatever comes."""

    row: Row | None
    future: asyncio.Future[None]
    outside: bool
    is_due: bool = True

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Waiting:
    """Tells those who wait, as soon as there is something to tell."""

    def __init__(
        self,
        host: Host,
        engine: MemoryEngine,
        troubles: Troubles,
        waits: Waits,
        time_limit: float,
    ) -> None:
        self._host = host
        self._engine = engine
        self._troubles = troubles
        self._waits = waits
        self._limit = instant(engine.clock.start) + timedelta(seconds=time_limit)
        self._waiters: list[_Waiter] = []
        self._quiet: list[_Waiter] = []
        self._pollers: list[tuple[asyncio.Future[None], int]] = []
        self._conditions: list[tuple[Callable[[], bool], Callable[[], Any]]] = []
        self._scripts: set[asyncio.Future[Any]] = set()
        self._failure: BaseException | None = None
        self._look_due = False
        engine.changed.append(self.changed)

    # --- waiting ---

    async def end_of(self, row: Row, limit: float | None, *, outside: bool) -> bool:
        """Waits for the end of an execution, and answers whether it came in time."""
        loop = asyncio.get_running_loop()
        with self._waiting(self._waiters, row, outside) as waiter:
            timer = None if limit is None else loop.call_later(limit, _release, waiter.future)
            try:
                await waiter.future
            finally:
                if timer is not None:
                    timer.cancel()
        return not row.is_open

    async def news(self, version: int) -> None:
        """Waits until something is not as it was at this version."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pollers.append((future, version))
        await future

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until a condition holds."""
        with self._waiting(self._waiters, None, True) as waiter:
            entry = condition, lambda: _release(waiter.future)
            self._conditions.append(entry)
            try:
                await waiter.future
            finally:
                if entry in self._conditions:
                    self._conditions.remove(entry)

    async def skip(self, duration: float) -> None:
        """Lets time pass, and waits until nothing runs."""
        with self._waiting(self._quiet, None, True) as waiter:
            if duration:
                waiter.is_due = False
                asyncio.get_running_loop().call_later(duration, setattr, waiter, "is_due", True)
            await waiter.future

    @contextmanager
    def _waiting(self, among: list[_Waiter], row: Row | None, outside: bool) -> Generator[_Waiter]:
        waiter = _Waiter(row, asyncio.get_running_loop().create_future(), outside)
        among.append(waiter)
        self.changed()
        try:
            if outside:
                self.raise_failure()
            yield waiter
            if outside:
                self.raise_failure()
        finally:
            among.remove(waiter)

    @property
    def inside(self) -> int:
        """How many bodies wait for an end."""
        return sum(not waiter.outside for waiter in self._waiters)

    def forget(self) -> None:
        """Forgets who waited on a loop that was closed."""
        self._waiters.clear()
        self._quiet.clear()
        self._pollers.clear()
        self._look_due = False

    # --- what a test plans ---

    def after(self, duration: Duration, act: Callable[[], Any]) -> None:
        """Plans something for an instant."""
        at = self._engine.clock.now + round(1e6 * seconds(duration, name="after"))
        self._engine.agenda.add(at, "what the test has planned", lambda: self._run(act), _SCRIPT)
        self.changed()

    def when(self, condition: Callable[[], bool], act: Callable[[], Any]) -> None:
        """Plans something for as soon as a condition holds."""
        self._conditions.append((condition, act))
        self.changed()

    def after_events(self, count: int, act: Callable[[], Any]) -> None:
        """Plans something for when so many more events have been written."""
        seen: list[int] = []

        def listen(row: Row, event: Json) -> None:
            seen.append(event["position"])
            if len(seen) == count:
                self._engine.on_event.remove(listen)
                act()

        self._engine.on_event.append(listen)

    def _run(self, act: Callable[[], Any]) -> None:
        try:
            value = act()
        except Exception as error:
            self.fail(error)
            return
        if inspect.isawaitable(value):
            script = asyncio.ensure_future(value)
            self._scripts.add(script)
            script.add_done_callback(self._scripts.discard)
            script.add_done_callback(self.failed)

    def failed(self, task: asyncio.Future[Any]) -> None:
        """Takes in how a task of the environment ended."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Has whoever waits, or will wait next, get an error."""
        waiting = self._outside(self._waiters) + self._outside(self._quiet)
        for waiter in waiting:
            waiter.fail(error)
        if not waiting:
            self._failure = self._failure or error

    def raise_failure(self) -> None:
        """Raises an error that nobody has heard of yet."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    # --- looking, whenever something has changed ---

    def changed(self) -> None:
        """Has a look soon."""
        if not self._look_due:
            self._look_due = self._host.soon(self.look)

    def look(self) -> bool:
        """Sees to what has come true; answers whether there was something."""
        self._look_due = False
        found = self._wake_pollers()
        for waiter in list(self._waiters):
            found = self._settle(waiter) or found
        for condition in list(self._conditions):
            found = self._try(*condition) or found
        if self._quiet and (error := self._troubles.endless()) is not None:
            self.fail(error)
        return found

    def _wake_pollers(self) -> bool:
        version = self._engine.version
        ready = [future for future, seen in self._pollers if seen != version]
        self._pollers = [poller for poller in self._pollers if poller[1] == version]
        for future in ready:
            _release(future)
        return bool(ready)

    def _try(self, holds: Callable[[], bool], act: Callable[[], Any]) -> bool:
        try:
            if not holds():
                return False
        except Exception as error:
            self._conditions.remove((holds, act))
            self.fail(error)
            return True
        self._conditions.remove((holds, act))
        self._run(act)
        return True

    def _settle(self, waiter: _Waiter) -> bool:
        """Tells a waiter that the end has come, or what keeps it from coming."""
        row = waiter.row
        if waiter.future.done() or row is None:
            return False
        error = (self._host.failure or self._troubles.of(row)) if waiter.outside else None
        if error is None and row.is_open:
            return False
        try:
            if error is None and waiter.outside:
                self._host.prove(_ended_of(row))
        except Exception as found:
            error = found
        if error is None:
            _release(waiter.future)
        else:
            waiter.fail(error)
        return True

    # --- asked before time is skipped ---

    def stuck(self) -> bool:
        """Nothing is due: tells whoever waits from outside what it is that does not come."""
        if self._calm():
            return True
        waiting = self._outside(self._waiters)
        for waiter in waiting:
            waiter.fail(Stuck(self._report(waiter.row)))
        return bool(waiting)

    def over(self, at: int) -> bool:
        """Tells whoever waits from outside if time would go too far."""
        if self._calm():
            return True
        waiting = self._outside(self._waiters)
        if instant(at) <= self._limit or not waiting:
            return False
        due = self._engine.agenda.next()
        what = f"; the next thing due is {due.what}" if due is not None else ""
        for waiter in waiting:
            waiter.fail(
                Endless(
                    f"time would go beyond {self._limit:%Y-%m-%d}{what}. End the workflow, as"
                    " with handle.cancel(after=...), or allow more with time_limit="
                )
            )
        return True

    def _calm(self) -> bool:
        """Tells those who wait until nothing runs."""
        waiting = [waiter for waiter in self._outside(self._quiet) if waiter.is_due]
        for waiter in waiting:
            _release(waiter.future)
        return bool(waiting)

    def _outside(self, among: list[_Waiter]) -> list[_Waiter]:
        return [waiter for waiter in among if waiter.outside and not waiter.future.done()]

    def _report(self, row: Row | None) -> str:
        head = "nothing can run and nothing is due, and"
        if row is not None:
            return self._waits.report([row], f"{head} somebody waits for the end of {row.name!r}")
        rows = [r for r in self._engine.rows.values() if r.parent is None and r.is_open]
        return self._waits.report(rows, f"{head} the condition does not hold")


def _ended_of(row: Row) -> Generator[Row]:
    """Answers an execution, and what came of it, as far as it has ended."""
    ahead = [row]
    while ahead:
        each = ahead.pop()
        if not each.is_open:
            yield each
        ahead += reversed(each.children)


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
