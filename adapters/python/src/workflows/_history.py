"""What is known of a workflow's history: what it recorded, what comes next, its time and chance."""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ._errors import NonDeterminismError, VersionError
from ._loop import place_of_call

Event = Mapping[str, Any]

MAX_HISTORY = 50_000  # events; the library's default

COMMANDS = {
    "activity_scheduled": "activity",
    "child_started": "child",
    "timer_started": "timer",
    "state_set": "state",
    "step_completed": "step",
    "step_failed": "step",
}
ENDS = {
    "activity_completed",
    "activity_failed",
    "activity_cancelled",
    "child_completed",
    "child_failed",
    "child_cancelled",
    "timer_fired",
    "timer_cancelled",
}
_NAMES = {
    "activity": "the activity",
    "child": "the child workflow",
    "timer": "the timer",
    "state": "set_state",
    "step": "the step",
}
_NO_VERSIONS: Mapping[str, int] = {}
_BEFORE = 3
_AFTER = 2
_MAX_NAME = 48
_MAX_PLACE = 120


class History:
    """What a workflow's code is checked against, and told."""

    __slots__ = (
        "_ats",
        "_fitted",
        "_id",
        "_last",
        "_marked",
        "_name",
        "_now",
        "_random",
        "_seen",
        "_uuids",
        "ended",
        "fault",
        "length",
        "live",
        "origin",
        "recorded",
        "sequence",
        "versions",
    )

    def __init__(self, claimed: Mapping[str, Any]) -> None:
        self._id: str = claimed["id"]
        self._name: str = claimed["name"]
        # The last event that code has suspended with, which need not have been this code.
        self._seen: int = claimed.get("seen") or 0
        # The run in which this history began: a retry goes on from a copy of it.
        self.origin: int = claimed.get("run", 1)
        # The sequence given last.
        self.sequence = 0
        # Commands that history has and the code has not asked for yet.
        self.recorded: dict[int, Event] = {}
        # What has ended according to events that were not applied yet.
        self.ended: set[int] = set()
        self.versions = _NO_VERSIONS
        self.fault: NonDeterminismError | None = None
        # How many events were applied.
        self.length = 0
        # The code has gone further than history.
        self.live = False
        self._last = 0
        # The commands that fitted last, to be told together with one that does not.
        self._fitted: deque[Event] | None = None
        self._marked: frozenset[int] = frozenset()
        self._ats: list[str] = []
        self._now: datetime | None = None
        self._random: random.Random | None = None
        self._uuids: random.Random | None = None

    def expect(self, events: Iterable[Event], position: int) -> list[Event]:
        """Notes what is known to come, before any of it is applied: what is after the position."""
        fresh: list[Event] = []
        for event in events:
            if event["position"] <= position:
                continue
            fresh.append(event)
            kind: str = event["type"]
            sequence: int = event.get("sequence") or 0
            if kind in COMMANDS:
                if sequence > self.sequence:
                    self.recorded[sequence] = event
                    self._last = max(self._last, sequence)
            elif kind in ENDS:
                self.ended.add(sequence)
            elif kind == "version_marked":
                self._choose(event["name"], int(event["payload"]), sequence)
            elif kind == "retried":
                self.origin -= 1
        return fresh

    def happened(self, event: Event) -> None:
        """Notes that an event was applied."""
        self._ats.append(event["at"])
        self.length = event["position"]
        if event["type"] in ENDS:
            self.ended.discard(event["sequence"])

    @property
    def goes_on(self) -> bool:
        """Whether history has commands after the one that was given last."""
        return self._last > self.sequence

    def next_sequence(self) -> int:
        """Answers the sequence of the next command."""
        sequence = self.sequence + 1
        # Version markers have numbers too, but their calls may have been removed.
        while sequence in self._marked:
            sequence += 1
        return sequence

    def next(self, kind: str, name: str) -> tuple[int, Event | None]:
        """Assigns the next sequence, and checks it against what history recorded for it."""
        sequence = self.next_sequence() if self._marked else self.sequence + 1
        self.sequence = sequence
        recorded = self.recorded.pop(sequence, None)
        if recorded is None:
            self.live = self.live or sequence > self._last
        elif COMMANDS[recorded["type"]] != kind or (recorded.get("name") or "") != name:
            self.mismatch(recorded, _called(kind, name), place_of_call())
        else:
            if self._fitted is None:
                self._fitted = deque(maxlen=_BEFORE)
            self._fitted.append(recorded)
        return sequence, recorded

    def mismatch(self, recorded: Event, attempted: str, where: str = "") -> None:
        """Notes that the code does not fit, at the first place where it does not."""
        self.fault = self.fault or NonDeterminismError(
            self._told(recorded, attempted, where),
            position=recorded["position"],
            recorded=_of(recorded),
            attempted=attempted,
        )

    def _told(self, recorded: Event, attempted: str, where: str) -> str:
        position, sequence, id = recorded["position"], recorded["sequence"], self._id
        return (
            f"the code of workflow {_short(self._name)} does not fit its history, at position "
            f"{position}.\n"
            f"  at position {position} history recorded: {_of(recorded)} (sequence {sequence})\n"
            f"  at that point the code attempted: {attempted}{where[-_MAX_PLACE:]}\n"
            "\n"
            f"{self._beside(recorded, attempted)}\n"
            "\n"
            "Put the old code back, or make the change conditional with workflows.get_version(); "
            f"then: workflows retry {id}\n"
            f"To try code on it without running anything: workflows replay -m MODULE --id {id}"
        )

    def _beside(self, recorded: Event, attempted: str) -> str:
        """A table of the commands up to the mismatch and what history has after it."""
        sequence = recorded["sequence"]
        ahead = [self.recorded.get(sequence + further) for further in range(1, _AFTER + 1)]
        rows = [("position", "history recorded", "the code attempted")]
        rows += [(str(each["position"]), _of(each), "the same") for each in self._fitted or ()]
        rows += [(f"-> {recorded['position']}", _of(recorded), attempted)]
        rows += [(str(each["position"]), _of(each), "") for each in ahead if each is not None]
        width = max(len(row[1]) for row in rows)
        return "\n".join(f"  {at:>9}  {was:<{width}}  {is_}".rstrip() for at, was, is_ in rows)

    def version(self, change: str, minimum: int, maximum: int) -> tuple[int, int | None]:
        """Answers the version of a change, and the sequence of its marker if it is a new one.

        Raises:
            VersionError: the code does not have the version that was recorded.
        """
        version, sequence = self.versions.get(change), None
        if version is None and self.goes_on:  # it passed this point without a marker
            version = minimum
            self.versions = {**self.versions, change: version}
        elif version is None:
            # Code without the call has passed it too where it went on to wait and asked for
            # nothing, as for a signal. Later claims may not tell of that, so it is recorded.
            version = minimum if self.length <= self._seen else maximum
            sequence = self.mark(change, version)
        if not minimum <= version <= maximum:
            raise VersionError(
                f"the workflow recorded version {version} of {change!r}, and this code knows "
                f"{minimum} to {maximum}; deploy code that "
                "still has that version until no such workflow is left",
                change=change,
                recorded=version,
                minimum=minimum,
                maximum=maximum,
            )
        return version, sequence

    def mark(self, change: str, version: int) -> int:
        """Chooses a version that history does not have, and answers the sequence of its marker."""
        self.sequence = sequence = self.next_sequence()
        self._choose(change, version, sequence)
        self.live = True
        return sequence

    def _choose(self, change: str, version: int, sequence: int) -> None:
        """Goes by a version; what is recorded first stays. Few workflows have any."""
        self.versions = {change: version, **self.versions}
        self._marked |= {sequence}

    def now(self) -> datetime:
        """The greatest time of an event so far."""
        if self._ats or self._now is None:
            times = [datetime.fromisoformat(at) for at in self._ats]
            self._ats.clear()
            if self._now is not None:
                times.append(self._now)
            self._now = max(times, default=datetime.fromtimestamp(0, UTC)).astimezone(UTC)
        return self._now

    def time(self) -> float:
        """The same in seconds since 1970."""
        return self.now().timestamp()

    def random(self) -> float:
        """A number from 0 to 1."""
        if self._random is None:
            self._random = random.Random(f"{self._id}:{self.origin}:random")
        return self._random.random()

    def uuid4(self) -> uuid.UUID:
        """A random uuid."""
        if self._uuids is None:
            self._uuids = random.Random(f"{self._id}:{self.origin}:uuid4")
        return uuid.UUID(int=self._uuids.getrandbits(128), version=4)


def _of(event: Event) -> str:
    return _called(COMMANDS[event["type"]], event.get("name") or "")


def _called(kind: str, name: str) -> str:
    return f"{_NAMES[kind]} {_short(name)}" if name else _NAMES[kind]


def _short(name: str) -> str:
    shown = repr(name)
    return shown if len(shown) <= _MAX_NAME else f"{shown[: _MAX_NAME - 2]}…{shown[-1]}"
