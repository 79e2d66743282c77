"""What was called: bodies as they ran, workflows as their executions tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._functions import Function
from .._payload import adapt
from .._wire_errors import error_to_exception
from ._clock import instant
from ._engine import MemoryEngine
from ._rows import Row


@dataclass(eq=False)
class Call:
    """One call of an activity, a step or a job, with all its attempts.

    Attributes:
        name: of the function.
        kind: job, activity, step or workflow.
        args: as the body got them; arguments that were given by name are among them, if they
            could be given by position.
        kwargs: those that can only be given by name.
        attempts: how often the body began.
        errors: what each attempt that failed has raised, the exceptions themselves.
        result: of the attempt that succeeded.
        status: running, completed, failed or cancelled; a call that will be tried again is
            failed meanwhile.
        started: when the first attempt began.
        ended: when the last attempt ended, None while it runs.
        id: of the execution; of a step, that of its workflow.
    """

    name: str
    kind: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    started: datetime
    id: str
    attempts: int = 0
    errors: list[BaseException] = field(default_factory=list[BaseException])
    result: Any = None
    status: str = "running"
    ended: datetime | None = None


class CallLog:
    """The calls of all bodies, in the order in which they began."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.calls: list[Call] = []
        self._by_key: dict[object, Call] = {}
        self._now = now

    def began(
        self,
        key: object,
        id: str,
        function: Function[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Call:
        """Notes that an attempt has begun; attempts with the same key are one call."""
        call = self._by_key.get(key)
        if call is None:
            name, kind = function.name, function.kind
            call = Call(name, kind, tuple(args), dict(kwargs), self._now(), id)
            self._by_key[key] = call
            self.calls.append(call)
        call.attempts += 1
        call.status, call.ended = "running", None
        return call

    def ended(self, call: Call, ok: bool, value: Any) -> None:
        """Notes how an attempt has ended."""
        call.ended = self._now()
        if ok:
            call.status, call.result = "completed", value
            return
        call.status = "cancelled" if isinstance(value, asyncio.CancelledError) else "failed"
        call.errors.append(value)


def calls_of_workflows(
    engine: MemoryEngine, function: Function[..., Any] | None, name: str
) -> list[Call]:
    """Answers the executions of a workflow as calls of it."""
    rows = [row for row in engine.rows.values() if row.is_workflow and row.name == name]
    return [_call_of(row, function) for row in rows]


def _call_of(row: Row, function: Function[..., Any] | None) -> Call:
    args, kwargs = list(row.args), dict(row.kwargs)
    if function is not None:
        args, kwargs = function.adapted(args, kwargs)
    call = Call(row.name, row.kind, tuple(args), kwargs, instant(row.created), row.id, row.run)
    call.status = row.status
    call.ended = None if row.finished is None else instant(row.finished)
    if row.error is not None:
        call.errors.append(error_to_exception(row.error))
    if row.status == "completed":
        kind = Any if function is None else function.result_type
        call.result = adapt(row.result, kind, path="result")
    return call
