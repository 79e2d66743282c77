"""What waits, in words: for whoever has to find out why a test does not go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._functions import Function
from ._clock import instant
from ._engine import MemoryEngine
from ._proof import replayed
from ._rows import Row

Find = Callable[[str, str], Function[..., Any] | None]

_MOST = 20


class Waits:
    """Says what executions wait for."""

    def __init__(self, engine: MemoryEngine, find: Find) -> None:
        self._engine = engine
        self._find = find
        self._signals: dict[tuple[str, int, int], tuple[str, ...]] = {}

    def signals(self, row: Row) -> tuple[str, ...]:
        """Answers the names of the signals that a workflow's code waits for now."""
        key = row.id, row.run, len(row.events)
        if key not in self._signals:
            self._signals[key] = self._replayed(row)
        return self._signals[key]

    def _replayed(self, row: Row) -> tuple[str, ...]:
        function, claimed = self._find("workflow", row.name), row.claims.get(row.run)
        if function is None or claimed is None or not row.is_open:
            return ()
        with replayed(claimed, function, row.events) as replay:
            return replay.signals.names

    def report(self, rows: Iterable[Row], head: str) -> str:
        """Answers a head and, below it, what these executions and their children wait for."""
        lines: list[str] = []
        for row in rows:
            lines += self._tell(row, 1)
        if len(lines) > _MOST:
            lines = [*lines[:_MOST], f"  ... and {len(lines) - _MOST} lines more"]
        since = instant(self._engine.clock.now) - instant(self._engine.clock.start)
        now = instant(self._engine.clock.now)
        return "\n".join([f"{head}, at {now:%Y-%m-%d %H:%M:%S} ({since} after the start):", *lines])

    def _tell(self, row: Row, depth: int) -> list[str]:
        lines = ["  " * depth + f"{row.kind} {row.name!r} ({row.id}) {self._state(row)}"]
        if row.is_workflow and row.status == "suspended" and row.parked is None:
            names = self.signals(row)
            lines += [
                "  " * depth + f"  for the signal {name!r}, which nobody sends" for name in names
            ]
        for child in row.children:
            if child.is_open and child.parent_run == row.run:
                lines += self._tell(child, depth + 1)
        return lines

    def _state(self, row: Row) -> str:
        if row.parked is not None:
            return f"is parked: {row.parked}"
        if row.status == "suspended":
            return "waits"
        if row.status == "running":
            return "runs, and its code awaits something that does not come"
        if row.status == "pending":
            return (
                f"waits for a worker on queue {row.queue!r}, which this environment does not serve"
            )
        return f"is {row.status}"
