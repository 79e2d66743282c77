"""Replays histories without worker or database, and says what the code asks for.

As a process it reads one claimed workflow with its events a line, and answers
a line for each: what it asks for at every prefix, and what it asks for if it
stays in memory. program_replay.ts is its twin; program_judge says whether that
is right. The harness has two of each, those of Python with different hash seeds.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from program_functions import describe, program
from program_model import CONTINUED
from workflows._calls import Call, continuation_of
from workflows._history import Event
from workflows._replay import Replay

Json = dict[str, Any]

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

    def told(self) -> Json:
        """What the code asks for now, and how it ended if it has."""
        turn, error = self.turn(), None
        if turn.error:
            error = {"type": turn.error["type"], "message": turn.error["message"]}
        return {
            "then": turn.then,
            "commands": turn.commands,
            "steps": [[step.call.sequence, step.call.name, list(step.args)] for step in turn.steps],
            "message": turn.message,
            "result": turn.result,
            "error": error,  # without its stack, which is of its process
            "outcome": _outcome(self),
        }


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


def _replayed(claimed: Json, events: Sequence[Event]) -> Json:
    """A replay of the first events of a history, from the start."""
    replay = Watched(claimed)
    replay.feed(events)
    found = {
        **replay.told(),
        "asked": replay.asked,
        "withdrawn": sorted(replay.withdrawn),
        "abandoned": sorted(replay.abandoned_ones),
    }
    replay.discard()
    return found


def _in_memory(claimed: Json, events: Sequence[Event]) -> list[Json]:
    """What a workflow that stays in memory asks for after each event."""
    replay = Watched(claimed)
    turns: list[Json] = []
    for event in events:
        if event["type"] in _STEPS:
            replay.step_ended(event["sequence"])
        replay.feed([event])
        turns.append(replay.told())
    replay.discard()
    return turns


def record(claimed: Json, events: Sequence[Event]) -> Json:
    """Replay every prefix, and the whole event by event."""
    lengths = range(1, len(events) + 1)
    return {
        "prefixes": [_replayed(claimed, events[:length]) for length in lengths],
        "warm": _in_memory(claimed, events),
    }


def main() -> None:
    logging.disable()
    for line in sys.stdin:
        request = json.loads(line)
        answer = record(request["claimed"], request["events"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
