"""Forgetting suspended workflow code without running any of it.

Dropping a suspended coroutine makes CPython throw GeneratorExit into it, which
runs the `finally` and `except` blocks of code that nobody cancelled. That throw
is the object's finaliser, and an object is finalised once: one whose "finalised"
bit is set is just freed, its locals with it. `discard` sets the bit on every
suspended coroutine and generator of a workflow, and then lets go of them.

The bit is in the header that the collector puts before each object it tracks,
unchanged since Python 3.8, and `gc.is_finalized` reads it back. A self-test at
first use decides; where it does not hold (another interpreter, a build without
the GIL), coroutines are closed here and now instead, while every call of the
SDK raises Evicted: user code runs then, but it cannot do anything durable.

What remains: `__del__` of objects that the code held runs, as it must; and so
does the `finally` of a plain generator that the code held half-way in a place
that is not looked at, such as an attribute of an object of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import gc
import sys
import sysconfig
import types
from asyncio import events
from collections import deque
from collections.abc import Coroutine, Generator, Iterable
from typing import Any, cast

from ._loop import WorkflowLoop

_SUSPENDED = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)
# What a suspended frame holds others in: the stack of `with`, an awaited wrapper, a list of them.
_CONTAINERS = (types.MethodType, tuple, list, deque)
_WRAPPERS = {
    "coroutine_wrapper",
    "async_generator_asend",
    "async_generator_athrow",
    "anext_awaitable",
}
_MANAGERS = tuple(
    getattr(contextlib, name)
    for name in ("_GeneratorContextManagerBase", "_BaseExitStack", "closing", "aclosing")
    if hasattr(contextlib, name)
)
_MAX_LOOKED_AT = 20_000
_MAX_CONTAINER = 1_000


def discard(loop: WorkflowLoop) -> None:
    """Forgets the tasks of a workflow's loop. Never while a workflow is stepped.

    This is the one place where suspended code ends: after an eviction, a lost
    lease, the end of the root while others still wait, and at exit.
    """
    forgotten = loop.evict()
    if not forgotten:
        return
    previous = events._get_running_loop()
    # What runs all the same finds itself evicted, not outside a workflow.
    events._set_running_loop(loop)
    try:
        _drop(forgotten)
        forgotten.clear()  # freed here, under this loop
    finally:
        events._set_running_loop(previous)


def forget(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Forgets a suspended coroutine that is no workflow's, without running any of its code."""
    if can_mark():
        for each in _reachable([coroutine]):
            _mark(each)
    else:
        _kept.append(coroutine)


_kept: list[object] = []  # what must not be dropped, because that would run its code


def _drop(forgotten: list[asyncio.Task[Any]]) -> None:
    coroutines = [cast("Coroutine[Any, Any, Any]", task.get_coro()) for task in forgotten]
    for task in forgotten:
        cast(Any, task)._log_destroy_pending = False
    if can_mark():
        for each in _reachable(coroutines):
            _mark(each)
        return
    for coroutine in coroutines:
        with contextlib.suppress(BaseException):
            coroutine.close()


def _reachable(roots: Iterable[object]) -> list[object]:
    """Answers the suspended coroutines and generators that the roots hold."""
    found: list[object] = []
    seen: set[int] = set()
    ahead: list[object] = list(roots)
    while ahead and len(seen) < _MAX_LOOKED_AT:
        each = ahead.pop()
        if id(each) not in seen:
            seen.add(id(each))
            if type(each) in _SUSPENDED:
                found.append(each)
            ahead.extend(_held_by(each))
    return found


def _held_by(each: object) -> Iterable[object]:
    if isinstance(each, _MANAGERS):
        return cast("list[object]", list(vars(each).values()))
    if isinstance(each, (tuple, list, deque)) and len(cast("list[object]", each)) > _MAX_CONTAINER:
        return ()
    if isinstance(each, _SUSPENDED + _CONTAINERS) or type(each).__name__ in _WRAPPERS:
        return gc.get_referents(each)
    return ()


def _mark(suspended: object) -> None:
    """Sets the bit that says that this object was finalised already."""
    ctypes.c_size_t.from_address(id(suspended) - ctypes.sizeof(ctypes.c_size_t)).value |= 1


@functools.cache
def can_mark() -> bool:
    """Says whether this interpreter lets suspended code be forgotten without running it."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    ran: list[str] = []

    def suspended() -> Generator[None]:
        try:
            yield
        finally:
            ran.append("finally")

    trial = suspended()
    next(trial)
    if gc.is_finalized(trial) or not gc.is_tracked(trial):
        return False
    _mark(trial)
    if not gc.is_finalized(trial):
        return False
    del trial
    return not ran
