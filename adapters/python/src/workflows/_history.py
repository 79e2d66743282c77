"""What is known of a workflow's history: what it recorded, what comes next, its time and chance."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ._errors import NonDeterminismError

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


class History:
    """What a workflow's code is checked against, and told."""

    __slots__ = (
        "_ats",
        "_id",
        "_last",
        "_marked",
        "_name",
        "_now",
        "_random",
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
        # The run in which this history began: a retry goes on from a copy of it.
        self.origin: int = claimed.get("run", 1)
        # The sequence given last.
        self.sequence = 0
        # Commands that history has and the code has not asked for yet.
        self.recorded: dict[int, Event] = {}
        # What has ended according to events that were not applied yet.
        self.ended: set[int] = set()
        self.versions: dict[str, int] = {}
        self.fault: NonDeterminismError | None = None
        # How many events were applied.
        self.length = 0
        # The code has gone further than history.
        self.live = False
        self._last = 0
        self._marked: set[int] = set()
        self._ats: list[str] = []
        self._now: datetime | None = None
        self._random: random.Random | None = None
        self._uuids: random.Random | None = None

    def index(self, event: Event) -> None:
        """Notes what is known to come, before any of it is applied."""
        kind: str = event["type"]
        sequence: int = event.get("sequence") or 0
        if kind in COMMANDS and sequence > self.sequence:
            self.recorded[sequence] = event
            self._last = max(self._last, sequence)
        elif kind in ENDS:
            self.ended.add(sequence)
        elif kind == "version_marked":
            self._marked.add(sequence)
            self.versions.setdefault(event["name"], int(event["payload"]))
        elif kind == "retried":
            self.origin -= 1

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
        self.sequence = sequence = self.next_sequence()
        recorded = self.recorded.pop(sequence, None)
        if recorded is None:
            self.live = self.live or sequence > self._last
        elif COMMANDS[recorded["type"]] != kind or (recorded.get("name") or "") != name:
            self.mismatch(recorded, f"{_NAMES[kind]} {name!r}")
        return sequence, recorded

    def mismatch(self, recorded: Event, attempted: str) -> None:
        """Notes that the code does not fit, at the first place where it does not."""
        position, sequence = recorded["position"], recorded["sequence"]
        was = f"{_NAMES[COMMANDS[recorded['type']]]} {recorded.get('name') or ''!r}"
        self.fault = self.fault or NonDeterminismError(
            f"the code of workflow {self._name!r} does not fit its history.\n"
            f"  at position {position} history recorded: {was} (sequence {sequence})\n"
            f"  at that point the code attempted: {attempted}\n"
            "Put the old code back, or make the change conditional with workflows.get_version(); "
            "then retry the workflow.",
            position=position,
            recorded=was,
            attempted=attempted,
        )

    def mark(self, change: str, version: int) -> int:
        """Chooses a version that history does not have, and answers the sequence of its marker."""
        self.versions[change] = version
        self.sequence = sequence = self.next_sequence()
        self._marked.add(sequence)
        self.live = True
        return sequence

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
