"""Calls of workflows, as their executions tell them."""

from __future__ import annotations

from typing import Any

from .._functions import Function
from .._payload import adapt
from .._wire_errors import error_to_exception
from ._clock import instant
from ._doubles import Call, Functions
from ._engine import MemoryEngine
from ._rows import Row


def calls_of_workflows(engine: MemoryEngine, functions: Functions, name: str) -> list[Call]:
    """Answers the executions of a workflow as calls of it."""
    function = functions.find("workflow", name)
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
