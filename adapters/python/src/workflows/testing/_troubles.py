"""What keeps executions from going on, other than that they wait."""

from __future__ import annotations

from collections.abc import Callable

from .._errors import NonDeterminismError
from ._doubles import Functions
from ._engine import MemoryEngine
from ._errors import Endless, Stuck
from ._proof import replayed
from ._rows import Json, Row

_StillSo = Callable[[], bool]


class Troubles:
    """Finds out which executions cannot go on, and why."""

    def __init__(self, engine: MemoryEngine, functions: Functions, max_runs: int) -> None:
        self._engine = engine
        self._functions = functions
        self._max_runs = max_runs
        self._known: list[tuple[Row, Exception, _StillSo]] = []
        engine.on_event.append(self._happened)

    def of(self, row: Row) -> Exception | None:
        """Answers why an execution, or what it belongs to, cannot go on."""
        self._take()
        self._known = [each for each in self._known if each[2]()]
        for troubled, error, _ in self._known:
            if troubled.root is row.root:
                return error
        return None

    def endless(self) -> Exception | None:
        """Answers why nothing comes to rest."""
        for row, error, _ in self._known:
            if isinstance(error, Endless) and row.is_open:
                return error
        return None

    def _happened(self, row: Row, event: Json) -> None:
        if event["type"] == "continued" and row.run >= self._max_runs:
            error = Endless(
                f"workflow {row.name!r} has continued as new {row.run} times: end it, as with"
                " handle.cancel(after=...), or allow more with max_runs="
            )
            self._known.append((row, error, lambda: row.is_open))

    def _take(self) -> None:
        """Looks at what was put back since the last time."""
        rows, self._engine.put_back = self._engine.put_back, []
        for row in rows:
            if row.parked is not None:
                self._known.append((row, self._fault(row), _parked(row)))
            elif row.released == "no_function":
                self._known.append((row, Stuck(self._put_back(row)), _put_back(row)))

    def _fault(self, row: Row) -> NonDeterminismError:
        """Answers what the replay found, with all that it knows."""
        function, claimed = self._functions.find("workflow", row.name), row.claims.get(row.run)
        if function is not None and claimed is not None:
            with replayed(claimed, function, row.events) as replay:
                replay.turn()
                if replay.history.fault is not None:
                    return replay.history.fault
        return NonDeterminismError(row.parked or "")

    def _put_back(self, row: Row) -> str:
        if self._functions.find(row.kind, row.name) is not None:
            return f"{row.kind} {row.name!r} failed inside the adapter; the log says how"
        return (
            f"there is no {row.kind} {row.name!r} here: import its module, or, if it lives"
            f" elsewhere, replace it, as in env.replace({row.name!r}, returns=...)"
        )


def _parked(row: Row) -> _StillSo:
    return lambda: row.parked is not None


def _put_back(row: Row) -> _StillSo:
    return lambda: row.released == "no_function" and row.is_open
