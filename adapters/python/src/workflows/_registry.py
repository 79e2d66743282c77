"""The functions that have been decorated, by kind and name."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._functions import Function


class Registry:
    """The functions that a worker can run, by kind and name.

    There is one for the process, which the decorators fill at import. A name is used once
    per kind: else it would be a matter of import order which function runs.
    """

    def __init__(self) -> None:
        self._functions: dict[tuple[str, str], Function[..., Any]] = {}
        self._lock = threading.Lock()

    def add(self, function: Function[..., Any]) -> None:
        """Registers a function.

        Raises:
            ValueError: another function has this kind and name.
        """
        key = (function.kind, function.name)
        with self._lock:
            known = self._functions.setdefault(key, function)
        if known is not function and not _reloaded(known, function):
            raise ValueError(
                f"two functions are registered as {function.kind} {function.name!r}: "
                f"{known.place} and "
                f"{function.place}; give one of them another name=, because executions find "
                f"their code by it"
            )
        self._functions[key] = function

    def find(self, kind: str, name: str) -> Function[..., Any] | None:
        """Answers the function of this kind and name, or None."""
        return self._functions.get((kind, name))

    def names(self) -> dict[str, list[str]]:
        """Answers the names of the functions that a queue can hold, by kind."""
        found: dict[str, list[str]] = {}
        for kind, name in sorted(self._functions):
            if kind != "step":
                found.setdefault(kind, []).append(name)
        return found

    def __len__(self) -> int:
        return len(self._functions)


registry = Registry()


def _reloaded(known: Function[..., Any], function: Function[..., Any]) -> bool:
    """The same definition again.

    A module that was reloaded, or run as __main__ and then imported.
    """
    old, new = known.plain, function.plain
    return (
        known.place == function.place
        and old.__qualname__ == new.__qualname__
        and "<locals>" not in old.__qualname__
    )
