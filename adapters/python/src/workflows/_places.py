"""Where functions are defined, and how."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def is_async(plain: Callable[..., Any]) -> bool:
    """Says whether a call of it answers a coroutine."""
    called = inspect.getattr_static(type(plain), "__call__", None)
    return inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(called)


def definition_place(plain: Callable[..., Any]) -> str:
    """Answers where it is defined, as FILE:LINE, or its name if that is not in Python."""
    code = getattr(inspect.unwrap(plain), "__code__", None)
    if code is None:
        return f"{plain.__module__}.{getattr(plain, '__qualname__', plain)}"
    return f"{code.co_filename}:{code.co_firstlineno}"
