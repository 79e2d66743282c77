"""The proof that workflow code is deterministic: every prefix of a history, replayed cold."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import events as asyncio_events
from asyncio import tasks
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal, cast

from .._calls import Turn, frozen
from .._errors import NonDeterminismError
from .._functions import Function
from .._history import COMMANDS
from .._payload import dump_request, loads
from .._replay import Replay
from ._rows import ABSENT, Json, Row

Prove = Literal["every", "sample", "never"]

# Events that the prefixes of one history may have together, when they are sampled. All
# prefixes of a history of 200 events have so many.
_BUDGET = 20_000


@contextlib.contextmanager
def outside_tasks() -> Generator[None]:
    """Lets workflow code run here, even if the caller is a task."""
    loop = asyncio_events._get_running_loop()  # pyright: ignore[reportPrivateUsage]
    task = None if loop is None else asyncio.current_task(loop)
    if loop is None or task is None:
        yield
        return
    tasks._leave_task(loop, task)  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        tasks._enter_task(loop, task)  # pyright: ignore[reportPrivateUsage]


@contextlib.contextmanager
def replayed(
    claimed: Mapping[str, Any], function: Function[..., Any], events: Sequence[Json]
) -> Generator[Replay]:
    """Runs a workflow's code over a history, from the start, and forgets it afterwards."""
    fresh = {
        **claimed,
        "args": frozen(claimed.get("args", [])),
        "kwargs": frozen(claimed.get("kwargs", {})),
    }
    with outside_tasks():
        replay = Replay(fresh, function)
        try:
            replay.feed([_fresh(event) for event in events])
            yield replay
        finally:
            replay.discard()


def _fresh(event: Json) -> Json:
    """Answers an event whose payload is nobody else's: code may change what it gets."""
    payload = event.get("payload")
    return {**event, "payload": frozen(payload)} if isinstance(payload, (dict, list)) else event


def lengths(total: int, prove: Prove) -> Sequence[int]:
    """Answers how long the prefixes are that are replayed."""
    if prove == "never" or total == 0:
        return ()
    count = total if prove == "every" else max(2, min(total, 2 * _BUDGET // total))
    return sorted({max(1, round(total * (n + 1) / count)) for n in range(count)})


def prove(row: Row, run: int, function: Function[..., Any], how: Prove) -> None:
    """Replays prefixes of one run's history, and compares what the code asks for.

    Raises:
        NonDeterminismError: it asked for something else than it did before.
    """
    claimed, events = row.claims.get(run), row.histories.get(run, [])
    if claimed is None:
        return
    for length in lengths(len(events), how):
        with replayed(claimed, function, events[:length]) as replay:
            turn = replay.turn()
            if replay.history.fault is not None:
                raise replay.history.fault
            _Comparison(row, run, length).check(turn)


class _Comparison:
    """What the code asks for after a prefix, and what it asked for when it ran."""

    def __init__(self, row: Row, run: int, length: int) -> None:
        self._row = row
        self._run = run
        self._length = length
        self._events = row.histories[run]
        self._sent = row.sent.get(run, {})

    def check(self, turn: Turn) -> None:
        """Raises a NonDeterminismError where they differ."""
        for command in turn.commands:
            if command["type"] != "cancel":
                self._check_command(command)
        for step in turn.steps:
            sequence = step.call.sequence
            later = self._recorded(sequence)
            if later is not None and later["name"] != step.call.name:
                self._differ(sequence, _told(later), f"the step {step.call.name!r}")
        if self._length == len(self._events):
            self._check_outcome(turn)

    def _check_command(self, command: Json) -> None:
        sequence, kind = command["sequence"], command["type"]
        sent = self._sent.get((sequence, kind))
        if sent is not None and sent != loads(dump_request(command)):
            self._differ(sequence, *_differing(sent, command))
        others = [c for (n, t), c in self._sent.items() if n == sequence and t != "cancel"]
        if sent is None and others:
            self._differ(sequence, _describe(others[0]), _describe(command))

    def _check_outcome(self, turn: Turn) -> None:
        outcome = self._row.outcomes.get(self._run)
        if outcome is None:
            return
        was, now = _ending(outcome), _ending_of(turn)
        if was != now:
            self._differ(0, _said(was), _said(now))

    def _recorded(self, sequence: int) -> Json | None:
        for event in self._events[self._length :]:
            if event.get("sequence") == sequence and event["type"] in COMMANDS:
                return event
        return None

    def _differ(self, sequence: int, recorded: str, attempted: str) -> None:
        where = f" (sequence {sequence})" if sequence else ""
        raise NonDeterminismError(
            f"the code of workflow {self._row.name!r} is not deterministic: replayed from the"
            f" first {self._length} events of its history it did something else.\n"
            f"  before it was: {recorded}{where}\n"
            f"  replayed it was: {attempted}\n"
            "Whatever differs between two runs of the code belongs into an activity or a step:"
            " clocks, random numbers, the order of a set, files, the network.",
            position=self._length,
            recorded=recorded,
            attempted=attempted,
        )


def _told(event: Json) -> str:
    return f"the {COMMANDS[event['type']]} {event.get('name') or ''!r}"


def _describe(command: Json) -> str:
    execution: Json = command.get("execution") or {}
    if execution:
        return f"the {execution['kind']} {execution['name']!r}"
    return f"{command['type']} {command.get('name', '')!r}".rstrip(" '")


def _differing(sent: Json, command: Json) -> tuple[str, str]:
    """Answers two commands of one type in words, with the fields in which they differ."""
    a, b = _flat(sent), _flat(command)
    fields = [f for f in {**a, **b} if a.get(f, ABSENT) != b.get(f, ABSENT) and f != "name"]
    return tuple(  # type: ignore[return-value]
        " ".join([_describe(c), *(f"{f}={flat.get(f, 'none')!r}" for f in fields)])
        for c, flat in ((sent, a), (command, b))
    )


def _flat(command: Json) -> Json:
    flat = {**command, **cast("Json", command.get("execution") or {})}
    flat.pop("execution", None)
    return flat


def _ending(outcome: Json) -> tuple[str, Any]:
    then = outcome["then"]
    if then == "complete":
        return then, outcome.get("result")
    if then == "fail":
        error: Json = outcome.get("error") or {}
        return then, error.get("type")
    return then, [outcome.get("args") or [], outcome.get("kwargs") or {}]


def _ending_of(turn: Turn) -> tuple[str, Any]:
    if turn.then == "complete":
        return turn.then, frozen(turn.result)
    if turn.then == "fail":
        return turn.then, (turn.error or {}).get("type")
    if turn.then != "continue":
        return "wait", None
    return turn.then, [turn.next_run["args"], turn.next_run["kwargs"]]


def _said(ending: tuple[str, Any]) -> str:
    then, what = ending
    words = {
        "complete": f"its end, with the result {what!r}",
        "fail": f"its failure, with {what}",
        "continue": f"continuing as new, with {what!r}",
        "wait": "nothing, it waits",
    }
    return words.get(then, then)
