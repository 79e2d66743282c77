"""Replaying a history that was stored, such as one of production, over the code of today."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from .._functions import Function
from ._proof import replayed
from ._rows import Json

_NOBODY = "00000000-0000-7000-8000-000000000000"


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
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    id: str | None = None,
) -> Next:
    """Replays a stored history over the code of today.

    Args:
        history: what `workflows history ID --json` prints: as JSON, or what it says, or its
            events alone, such as `handle.history()`.
        function: the workflow.
        args: what the workflow was started with; `workflows status ID --json` has it.
        kwargs: the same for arguments that can only be given by name.
        id: the execution's. Random numbers and uuids follow from it: without it they are others.

    Returns:
        What the code does next.

    Raises:
        NonDeterminismError: the code does not fit the history. The message is that of production.
        PayloadError: an argument is not JSON.

    Example:
        >>> replay(Path("histories/order.json").read_text(), order, ["4242"])
    """
    run, events = _read(history)
    positional, named = function.arguments(tuple(args), kwargs or {})
    claimed = {
        "id": id or _NOBODY,
        "run": run,
        "kind": "workflow",
        "name": function.name,
        "queue": "default",
        "root_id": id or _NOBODY,
        "args": positional,
        "kwargs": named,
    }
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


def _read(history: Any) -> tuple[int, list[Json]]:
    if isinstance(history, (str, bytes)):
        history = json.loads(history)
    if isinstance(history, Mapping):
        told = cast("Mapping[str, Any]", history)
        if "events" not in told:
            raise ValueError("a history has events, as `workflows history ID --json` prints them")
        return told.get("run", 1), list(told["events"])
    return 1, list(cast("Sequence[Json]", history))
