"""Replays histories without worker or database, and says what does not fit.

As a process it reads one claimed workflow with its events a line, and answers
a line for each. The harness has two of them, with different hash seeds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from program_functions import describe, program
from program_model import CONTINUED
from workflows._calls import Call, continuation_of
from workflows._history import COMMANDS, ENDS, Event
from workflows._replay import Replay, Turn

Json = dict[str, Any]

# The event that records a command of each type.
RECORDS = {
    "schedule": {"activity_scheduled", "child_started"},
    "start_timer": {"timer_started"},
    "mark_version": {"version_marked"},
    "set_state": {"state_set"},
}
_STEPS = {"step_completed", "step_failed"}


class Watched(Replay):
    """A replay that notes what the code asks for, and what it takes back before anybody heard."""

    def __init__(self, claimed: Mapping[str, Any]) -> None:
        super().__init__(claimed, program)
        # Sequence, whether it was recorded, and is_replaying() before and after.
        self.asked: list[tuple[int, bool, bool, bool]] = []
        self.withdrawn: set[int] = set()
        # What the code cancelled while it was open.
        self.abandoned_ones: set[int] = set()

    def _asked(self, kind: str, name: str) -> tuple[int, Event | None]:
        before = self.is_replaying()
        sequence, recorded = super()._asked(kind, name)
        self.asked.append((sequence, recorded is not None, before, self.is_replaying()))
        return sequence, recorded

    @property
    def _is_over(self) -> bool:
        return self.root is not None and self.root.done()

    def abandoned(self, call: Call[Any]) -> None:
        """Notes what is cancelled."""
        if call.kind in ("activity", "child") and call.sequence in self.pending:
            self.abandoned_ones.add(call.sequence)
        super().abandoned(call)

    def stop(self, call: Call[Any]) -> None:
        """Notes what is cancelled."""
        self.abandoned_ones.add(call.sequence)
        super().stop(call)

    def cancel_timer(self, sequence: int) -> None:
        """Notes what is cancelled."""
        if sequence in self.timers and not self._is_over:
            self.abandoned_ones.add(sequence)
        super().cancel_timer(sequence)

    def cancel(self, sequence: int) -> None:
        """Notes a command that is taken back."""
        if self._is_over:
            return  # a signal came after the end, to a wait that nobody awaits any more
        given = len(self.commands)
        super().cancel(sequence)
        if len(self.commands) < given:
            self.withdrawn.add(sequence)


class Prefix:
    """A replay of the first events of a history, from the start."""

    def __init__(self, claimed: Json, events: Sequence[Event]) -> None:
        self.events = events
        self.length = len(events)
        self.known = {
            (event["sequence"], kind)
            for event in events
            for kind, recorded_as in RECORDS.items()
            if event["type"] in recorded_as
        }
        self.over = {event["sequence"] for event in events if event["type"] in ENDS}
        replay = Watched(claimed)
        replay.feed(events)
        self.turn = replay.turn()
        self.asked, self.withdrawn = replay.asked, replay.withdrawn
        self.abandoned = replay.abandoned_ones
        self.outcome = _outcome(replay)
        replay.discard()

    @property
    def given(self) -> dict[tuple[int, str], Json]:
        """The commands, but for cancels."""
        return {
            (command["sequence"], command["type"]): command
            for command in self.turn.commands
            if command["type"] != "cancel"
        }

    @property
    def transcript(self) -> list[Any]:
        steps = [[step.call.sequence, step.call.name, list(step.args)] for step in self.turn.steps]
        return [self.turn.then, self.turn.commands, steps]

    def problems(self) -> list[str]:
        """What is wrong with it, taken by itself."""
        if self.turn.then == "park":
            return [f"it does not fit: {self.turn.message}"]
        found = [f"it repeats the command {key}" for key in self.given.keys() & self.known]
        found += [
            f"it cancels {command['sequence']}, which has ended"
            for command in self.turn.commands
            if command["type"] == "cancel" and command["sequence"] in self.over
        ]
        return found + self._replaying()

    def _replaying(self) -> list[str]:
        """is_replaying() is true for what is recorded, and false from the first new thing on."""
        last = max(
            (event["sequence"] for event in self.events if event["type"] in COMMANDS), default=0
        )
        found: list[str] = []
        live = False
        for sequence, recorded, before, after in self.asked:
            if recorded and not before:
                found.append(f"is_replaying() is false before {sequence}, which is recorded")
            if sequence > last and after:
                found.append(f"is_replaying() is true after {sequence}, which is new")
            if live and (before or after):
                found.append(f"is_replaying() is true again at {sequence}")
            live = live or not after
        return found


def _outcome(replay: Replay) -> list[Any] | None:
    """How the code ended: as the model has it; None while it waits."""
    root = replay.root
    if root is None or not root.done():
        return None
    if root.cancelled():
        return ["stopped"]
    error = root.exception()
    if error is None:
        return ["ok", root.result()]
    # Also if it was asked to stop and did not heed it, so that it ends as cancelled.
    return ["ok", CONTINUED] if continuation_of(error) else ["failed", describe(error)]


def check(claimed: Json, events: Sequence[Event], cut_off: bool) -> Json:
    """Replay every prefix, and the whole event by event.

    Args:
        claimed: the workflow.
        events: its history.
        cut_off: it was ended from outside, so what it asked for last may not be recorded.
    """
    prefixes = [Prefix(claimed, events[:length]) for length in range(1, len(events) + 1)]
    if not prefixes:
        return {"problems": [], "outcome": None, "end": None, "transcript": ""}
    whole = prefixes[-1]
    problems = [
        f"prefix of {prefix.length}: {problem}"
        for prefix in prefixes
        for problem in [*prefix.problems(), *_against(prefix, whole, events, cut_off)]
    ]
    problems += _the_same_commands(prefixes) + _warm(claimed, events, prefixes)
    problems += [] if cut_off else _cancelled(whole)
    digest = hashlib.sha256()
    for prefix in prefixes:
        digest.update(json.dumps(prefix.transcript).encode())
    return {
        "problems": problems,
        "outcome": whole.outcome,
        "end": _end(whole.turn),
        "transcript": digest.hexdigest(),
    }


def _end(turn: Turn) -> Json:
    error = turn.error and {"type": turn.error["type"], "message": turn.error["message"]}
    return {"then": turn.then, "result": turn.result, "error": error}  # a stack is of its process


def _against(prefix: Prefix, whole: Prefix, events: Sequence[Event], cut_off: bool) -> list[str]:
    """A prefix asks for nothing that the whole history does not have, or took back."""
    if cut_off:
        return []
    found = [
        f"it gives {command}, which history does not have"
        for key, command in prefix.given.items()
        if key not in whole.known and key[0] not in whole.withdrawn
    ]
    found += [
        f"it cancels {command['sequence']}, and history knows no end of that"
        for command in prefix.turn.commands
        if command["type"] == "cancel" and command["sequence"] not in whole.over | whole.withdrawn
    ]
    return found


def _cancelled(whole: Prefix) -> list[str]:
    """What the code cancelled has an end, at the latest with the workflow."""
    started = {sequence for sequence, kind in whole.known if kind in ("schedule", "start_timer")}
    return [
        f"{sequence} was cancelled, and history knows no end of it"
        for sequence in sorted(whole.abandoned & started - whole.over)
        if whole.outcome is not None
    ]


def _the_same_commands(prefixes: Sequence[Prefix]) -> list[str]:
    """However much is known of what follows, a command is the same."""
    first: dict[tuple[int, str], str] = {}
    found: list[str] = []
    for prefix in prefixes:
        for key, command in prefix.given.items():
            text = json.dumps(command)
            if first.setdefault(key, text) != text:
                found.append(f"prefix of {prefix.length} gives {text}, and not {first[key]}")
    return found


def _warm(claimed: Json, events: Sequence[Event], prefixes: Sequence[Prefix]) -> list[str]:
    """A workflow that stays in memory asks for the same as one that is replayed."""
    replay = Watched(claimed)
    given: dict[tuple[int, str], Json] = {}
    found: list[str] = []
    outcome: list[Any] | None = None
    for event, prefix in zip(events, prefixes, strict=True):
        if event["type"] in _STEPS:
            replay.step_ended(event["sequence"])
        replay.feed([event])
        turn = replay.turn()
        for command in turn.commands:
            given[command["sequence"], command["type"]] = command
        if turn.then != prefix.turn.then:
            found.append(
                f"after {prefix.length}: {turn.then} in memory, {prefix.turn.then} replayed"
            )
        found += [
            f"after {prefix.length}: replayed it gives {command}, and in memory it did not"
            for key, command in prefix.given.items()
            if given.get(key) != command
        ]
        outcome = _outcome(replay)
    if outcome != prefixes[-1].outcome:
        found.append(f"in memory it ends {outcome}, replayed {prefixes[-1].outcome}")
    replay.discard()
    return found


def main() -> None:
    logging.disable()
    for line in sys.stdin:
        request = json.loads(line)
        answer = check(request["claimed"], request["events"], request["cut_off"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
