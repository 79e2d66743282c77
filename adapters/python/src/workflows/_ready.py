"""Callbacks of workflow code that wait for their turn, or for a durable timer."""

# asyncio has no public way to make a handle.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ._loop import WorkflowLoop


class Ready(asyncio.Handle):
    """A callback that waits for its turn. asyncio's own is three times slower to make."""

    __slots__ = ()

    def cancel(self) -> None:
        """Takes the callback back."""
        self._cancelled = True

    def __repr__(self) -> str:
        return f"<Ready {self._callback!r}>"


_bare = cast("Callable[[type[Ready]], Ready]", object.__new__)


def ready(
    callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context
) -> Ready:
    """Makes one."""
    handle = _bare(Ready)  # an __init__ in Python would take twice as long
    handle._callback = callback
    handle._args = args
    handle._context = context
    handle._cancelled = False
    return handle


class DurableTimer(asyncio.TimerHandle):
    """A callback that waits for a durable timer."""

    __slots__ = ("_fired", "_sequence")

    def __init__(
        self,
        loop: WorkflowLoop,
        delay: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:  # pyright: ignore[reportMissingSuperCall]
        self._callback = callback
        self._args = args
        self._context = context if context is not None else contextvars.copy_context()
        self._cancelled = False
        self._loop = loop
        self._fired = False
        self._when = loop.time() + max(0.0, delay)
        name = (
            "timeout"
            if isinstance(getattr(callback, "__self__", None), asyncio.Timeout)
            else "sleep"
        )
        self._sequence = loop.owner.start_timer(delay, name, self._fire)

    def _fire(self) -> None:
        self._fired = True
        if not self._cancelled:
            self._loop.call_soon(self._callback, *self._args, context=self._context)

    def cancel(self) -> None:
        """Cancels the timer, unless it has fired."""
        if not self._cancelled and not self._fired:
            self._loop.owner.cancel_timer(self._sequence)
        self._cancelled = True

    def when(self) -> float:
        """Answers when it is due, in the loop's time."""
        return self._when

    def __repr__(self) -> str:
        return f"<DurableTimer {self._sequence} {self._callback!r}>"
