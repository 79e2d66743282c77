"""Replaying a history that was stored, such as one of production, over the code of today."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from .._functions import Function
from .._replay_command import arguments_of
from ._proof import replayed
from ._rows import Json

_NOBODY = "00000000-0000-7000-8000-000000000000"
_ABOUT = {"id": _NOBODY, "root_id": _NOBODY, "run": 1, "kind": "workflow", "queue": "default"}


@dataclass(frozen=True, slots=True)
class Next:
    """What workflow code does next, after a history.

    Attributes:
        then: "suspend" (it waits), "keep" (it runs steps), "complete", "fail" or "continue".
        commands: what it asks for and history does not have, as it goes over the wire.
        steps: the names of the steps that it runs.
        signals: the names of the signals that it waits for.
        result: with then="complete".
        error: with then="fail", as it goes over the wire.
        args: with then="continue", those of the next run.
        kwargs: the same for arguments that can only be given by name.
    """

    then: str
    commands: list[Json] = field(default_factory=list["Json"])
    steps: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    result: Any = None
    error: Json | None = None
    args: list[Any] = field(default_factory=list[Any])
    kwargs: Json = field(default_factory=dict[str, Any])


def replay(
    history: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | bytes,
    function: Function[..., Any],
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    id: str | None = None,
) -> Next:
    """Replays a stored history over the code of today.

    `workflows replay` does this for many at once.

    Args:
        history: what `workflows history ID --json` prints: as JSON, or what it says. Or events
            alone, such as `handle.history()`.
        function: the workflow.
        args: what the run was started with. Default: what the history says.
        kwargs: the same for arguments that can only be given by name.
        id: the execution's. Default: what the history says. Random numbers and uuids follow from
            it: with another one they are others.

    Returns:
        What the code does next.

    Raises:
        NonDeterminismError: the code does not fit the history. The message is that of production.
        PayloadError: an argument is not JSON.

    Example:
        >>> replay(Path("histories/order.json").read_text(), order)
    """
    told, events = _read(history)
    claimed: Json = {**_ABOUT, **told, **arguments_of(told, events), "name": function.name}
    if id is not None:
        claimed |= {"id": id, "root_id": id}
    if args is not None or kwargs is not None:
        positional, named = function.arguments(tuple(args or ()), kwargs or {})
        claimed |= {"args": positional, "kwargs": named}
    with replayed(claimed, function, events) as replay:
        turn = replay.turn()
        if replay.history.fault is not None:
            raise replay.history.fault
        return Next(
            turn.then,
            turn.commands,
            tuple(step.call.name for step in turn.steps),
            replay.signals.names,
            turn.result,
            turn.error,
            turn.next_run.get("args", []),
            turn.next_run.get("kwargs", {}),
        )


def _read(history: Any) -> tuple[Json, list[Json]]:
    """Answers what a history says of its execution, and its events."""
    if isinstance(history, (str, bytes)):
        history = json.loads(history)
    if not isinstance(history, Mapping):
        return {}, list(cast("Sequence[Json]", history))
    told = cast("Mapping[str, Any]", history)
    if "events" not in told:
        raise ValueError("a history has events, as `workflows history ID --json` prints them")
    execution: Json = dict(told.get("execution") or {})
    if "run" in told:
        execution["run"] = told["run"]
    return execution, list(told["events"])
