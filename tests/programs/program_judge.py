"""Says what does not fit in what code asks for when it replays a history, in any language."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from workflows._history import COMMANDS, ENDS, Event

Json = dict[str, Any]

# The event that records a command of each type.
RECORDS = {
    "schedule": {"activity_scheduled", "child_started"},
    "start_timer": {"timer_started"},
    "mark_version": {"version_marked"},
    "set_state": {"state_set"},
}


def _given(turn: Json) -> dict[tuple[int, str], Json]:
    """The commands, but for cancels."""
    return {
        (command["sequence"], command["type"]): command
        for command in turn["commands"]
        if command["type"] != "cancel"
    }


def _cancels(turn: Json) -> list[int]:
    return [each["sequence"] for each in turn["commands"] if each["type"] == "cancel"]


class Prefix:
    """A replay of the first events of a history, from the start.

    Args:
        events: of the prefix.
        turn: what program_replay answers of it.
    """

    def __init__(self, events: Sequence[Event], turn: Json) -> None:
        self.events = events
        self.length = len(events)
        self.known = {
            (event["sequence"], kind)
            for event in events
            for kind, recorded_as in RECORDS.items()
            if event["type"] in recorded_as
        }
        self.over = {event["sequence"] for event in events if event["type"] in ENDS}
        self.turn = turn
        self.given, self.cancels = _given(turn), _cancels(turn)
        self.withdrawn, self.abandoned = set[int](turn["withdrawn"]), set[int](turn["abandoned"])
        self.outcome: list[Any] | None = turn["outcome"]

    @property
    def transcript(self) -> list[Any]:
        return [self.turn["then"], self.turn["commands"], self.turn["steps"]]

    def problems(self) -> list[str]:
        """What is wrong with it, taken by itself."""
        if self.turn["then"] == "park":
            return [f"it does not fit: {self.turn['message']}"]
        found = [f"it repeats the command {key}" for key in self.given.keys() & self.known]
        found += [
            f"it cancels {sequence}, which has ended"
            for sequence in self.cancels
            if sequence in self.over
        ]
        return found + self._replaying()

    def _replaying(self) -> list[str]:
        """is_replaying() is true for what is recorded, and false from the first new thing on."""
        last = max(
            (event["sequence"] for event in self.events if event["type"] in COMMANDS), default=0
        )
        found: list[str] = []
        live = False
        for sequence, recorded, before, after in self.turn["asked"]:
            if recorded and not before:
                found.append(f"is_replaying() is false before {sequence}, which is recorded")
            if sequence > last and after:
                found.append(f"is_replaying() is true after {sequence}, which is new")
            if live and (before or after):
                found.append(f"is_replaying() is true again at {sequence}")
            live = live or not after
        return found


def judged(record: Json, events: Sequence[Event], cut_off: bool) -> Json:
    """Say what does not fit, and how the code ended.

    Args:
        record: what program_replay answers of a history.
        events: the history.
        cut_off: it was ended from outside, so what it asked for last may not be recorded.
    """
    prefixes = [Prefix(events[:at], turn) for at, turn in enumerate(record["prefixes"], 1)]
    if not prefixes:
        return {"problems": [], "outcome": None, "end": None, "transcript": ""}
    whole = prefixes[-1]
    problems = [
        f"prefix of {prefix.length}: {problem}"
        for prefix in prefixes
        for problem in [*prefix.problems(), *_against(prefix, whole, cut_off)]
    ]
    problems += _the_same_commands(prefixes) + _warm(record["warm"], prefixes)
    problems += [] if cut_off else _cancelled(whole)
    digest = hashlib.sha256()
    for prefix in prefixes:
        digest.update(json.dumps(prefix.transcript).encode())
    return {
        "problems": problems,
        "outcome": whole.outcome,
        "end": {key: whole.turn[key] for key in ("then", "result", "error")},
        "transcript": digest.hexdigest(),
    }


def _against(prefix: Prefix, whole: Prefix, cut_off: bool) -> list[str]:
    """A prefix asks for nothing that the whole history does not have, or took back."""
    if cut_off:
        return []
    found = [
        f"it gives {command}, which history does not have"
        for key, command in prefix.given.items()
        if key not in whole.known and key[0] not in whole.withdrawn
    ]
    found += [
        f"it cancels {sequence}, and history knows no end of that"
        for sequence in prefix.cancels
        if sequence not in whole.over | whole.withdrawn
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


def _warm(turns: Sequence[Json], prefixes: Sequence[Prefix]) -> list[str]:
    """A workflow that stays in memory asks for the same as one that is replayed."""
    given: dict[tuple[int, str], Json] = {}
    found: list[str] = []
    for turn, prefix in zip(turns, prefixes, strict=True):
        given |= _given(turn)
        if turn["then"] != prefix.turn["then"]:
            found.append(
                f"after {prefix.length}: {turn['then']} in memory, {prefix.turn['then']} replayed"
            )
        found += [
            f"after {prefix.length}: replayed it gives {command}, and in memory it did not"
            for key, command in prefix.given.items()
            if given.get(key) != command
        ]
    if turns[-1]["outcome"] != prefixes[-1].outcome:
        found.append(f"in memory it ends {turns[-1]['outcome']}, replayed {prefixes[-1].outcome}")
    return found
