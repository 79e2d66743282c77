"""The tasks and futures of workflow code. asyncio's functions do the same to them in every Python.

What `gather`, TaskGroup and Timeout do follows from what the tasks and futures
in their hands answer, and in some places versions of Python ask differently:

- `gather` of what has ended already goes on at once since 3.12, and a turn later
  before. Here it is told that nothing has ended yet.
- A TaskGroup cancels its parent when a child fails. Up to 3.12 it may never take
  that back, and a timeout around it ends in CancelledError instead of
  TimeoutError. So the cancels of groups are not counted.
- A TaskGroup whose children fail while its parent is being cancelled raises their
  failures; since 3.13 it cancels the parent once more. Here it does not.
- `uncancel` takes back a cancel that is on its way since 3.13. Here it only counts.
- Timeout took any cancel before it for one within it up to 3.11.2.

The order of a set follows from hashes, and those of asyncio from addresses. Here
they do not.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import sys
import types
from asyncio import taskgroups, tasks, timeouts
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from contextvars import Context

T = TypeVar("T")

# asyncio's calls are told from the user's by the code that makes them: nothing else differs.
_GATHER = tasks.gather.__code__
GROUP_EXIT = taskgroups.TaskGroup.__aexit__.__code__
_GROUP_ABORT = cast(Any, taskgroups.TaskGroup)._on_task_done.__code__
_TIMEOUT_ENTRY = timeouts.Timeout.reschedule.__code__
_TIMEOUT_EXIT = timeouts.Timeout.__aexit__.__code__

_LOOKS_FOR_ENDED = "done" in _GATHER.co_names
_FORGETS_EARLIER = "_cancelling" not in timeouts.Timeout.__aenter__.__code__.co_names

is_done = asyncio.Future[Any].done  # asyncio's own, for whom it is a matter of speed


class Steady:
    """What the futures of workflow code have in common."""

    __slots__ = ()

    _order: int

    def __hash__(self) -> int:
        return self._order

    if _LOOKS_FOR_ENDED:

        def done(self) -> bool:
            """Says whether it has ended, but not to gather."""
            return is_done(cast(Any, self)) and sys._getframe(1).f_code is not _GATHER


class WorkflowFuture(Steady, asyncio.Future[T]):
    """A future of workflow code."""

    __slots__ = ("_order",)


class WorkflowTask(Steady, asyncio.Task[T]):
    """A task of workflow code, which counts its cancels itself."""

    __slots__ = ("_cancels", "_order")

    def cancel(self, msg: Any | None = None) -> bool:
        """Raises CancelledError in it, soon."""
        cancelled = super().cancel(msg)
        if cancelled and sys._getframe(1).f_code is not _GROUP_ABORT:
            self._cancels += 1
        return cancelled

    def cancelling(self) -> int:
        """Answers how many cancels nobody has taken back."""
        return 0 if sys._getframe(1).f_code is GROUP_EXIT else self._cancels

    def uncancel(self) -> int:
        """Takes one cancel back, and answers how many remain."""
        asks = sys._getframe(1)
        if asks.f_code is not GROUP_EXIT and self._cancels > 0:
            self._cancels -= 1
        if _FORGETS_EARLIER and asks.f_code is _TIMEOUT_EXIT:
            return max(0, self._cancels - getattr(asks.f_locals["self"], "cancels_before", 0))
        return self._cancels


def new_task(
    coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
    order: int,
    loop: asyncio.AbstractEventLoop,
    name: str,
    context: Context | None,
) -> WorkflowTask[T]:
    """Makes a task, without an __init__ in Python, which is as slow as all the rest."""
    task: WorkflowTask[T] = _bare_task(WorkflowTask)
    task._order = order  # first: asyncio keeps it in a set
    task._cancels = 0
    _init_task(task, coro, loop=loop, name=name, context=context)
    return task


_bare_task: Any = asyncio.Task.__new__
_init_task = cast(Any, asyncio.Task[Any]).__init__


class Gathering(WorkflowFuture[list[Any]]):
    """What gather answers in workflow code: the results of all, in the order given."""

    __slots__ = ("_cancel_asked", "_children", "_left", "_takes_errors")

    def __init__(
        self, children: list[asyncio.Future[Any]], *, takes_errors: bool, loop: Any, order: int
    ) -> None:
        super().__init__(loop=loop)
        self._order = order
        self._children = children
        self._takes_errors = takes_errors
        self._cancel_asked = False
        self._left = len(children)
        for child in children:
            child.add_done_callback(self._ended)
        if not children:
            self.set_result([])

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancels what has not ended; CancelledError is raised when all has."""
        if self.done():
            return False
        cancelled = [child.cancel(msg) for child in self._children]
        self._cancel_asked = self._cancel_asked or any(cancelled)
        return any(cancelled)

    def _ended(self, child: asyncio.Future[Any]) -> None:
        self._left -= 1
        error = _error_of(child)
        if self.done():
            return
        if error is not None and not self._takes_errors:
            self.set_exception(error)
        elif self._left == 0 and self._cancel_asked:
            self.set_exception(cast(Any, child)._make_cancelled_error())
        elif self._left == 0:
            errors = [_error_of(child) for child in self._children]
            self.set_result(
                [
                    child.result() if error is None else error
                    for child, error in zip(self._children, errors, strict=True)
                ]
            )


def _error_of(ended: asyncio.Future[Any]) -> BaseException | None:
    return cast(Any, ended)._make_cancelled_error() if ended.cancelled() else ended.exception()


def note_timeout(asks: types.FrameType) -> None:
    """Notes how often a task had been cancelled when it came to a timeout, which asks the time."""
    if _FORGETS_EARLIER and asks.f_code is _TIMEOUT_ENTRY:
        timeout, task = asks.f_locals["self"], asyncio.current_task()
        if task is not None and not hasattr(timeout, "cancels_before"):
            timeout.cancels_before = task.cancelling()
