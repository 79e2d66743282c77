"""Drives one workflow through the replay alone: no worker, no event loop, no database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from workflows._functions import Function
from workflows._operations import Operation
from workflows._replay import Replay, Turn

from .memory_engine import FINAL, Json, MemoryEngine, Row

_COMMAND_OF = {
    "activity_scheduled": "schedule",
    "child_started": "schedule",
    "timer_started": "start_timer",
    "version_marked": "mark_version",
    "state_set": "set_state",
}


class Story:
    """A workflow, and what happens to it, one thing after another.

    `cold` replays from the start at every claim; otherwise the workflow stays
    in memory, as in a worker with a warm cache.
    """

    def __init__(
        self,
        function: Function[..., Any],
        *args: Any,
        cold: bool = True,
        start: bool = True,
        **kwargs: Any,
    ) -> None:
        self.engine = MemoryEngine()
        self.function = function
        self.cold = cold
        self.row = self.engine.create(function.execution(args, kwargs))
        self.turns: list[Turn] = []
        self.replay: Replay | None = None
        self.step_results: dict[str, Any] = {}
        self.steps_run: list[str] = []
        if start:
            self.go()

    # --- what it came to ---

    @property
    def status(self) -> str:
        return self.row.status

    @property
    def result(self) -> Any:
        assert self.row.status == "completed", (self.row.status, self.row.error, self.row.parked)
        return self.row.result

    @property
    def error(self) -> Json:
        assert self.row.status in ("failed", "cancelled"), (self.row.status, self.row.result)
        return self.row.error

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.row.events]

    @property
    def commands(self) -> list[Json]:
        return [command for turn in self.turns for command in turn.commands]

    def child(self, sequence: int) -> Row:
        return next(
            row
            for row in self.engine.rows.values()
            if row.parent is self.row and row.sequence == sequence
        )

    # --- what happens ---

    def complete(self, sequence: int, result: Any = None) -> Story:
        self._take(sequence)
        self.engine.end(self.child(sequence), True, result, None)
        return self.go()

    def complete_all(self, results: Mapping[int, Any]) -> Story:
        """Several ends before the workflow is claimed again."""
        for sequence, result in results.items():
            self._take(sequence)
            self.engine.end(self.child(sequence), True, result, None)
        return self.go()

    def fail(
        self, sequence: int, type: str = "ValueError", message: str = "no", attempts: int = 4
    ) -> Story:
        child = self._take(sequence)
        child.attempts = attempts
        self.engine.end(child, False, None, {"type": type, "message": message})
        return self.go()

    def _take(self, sequence: int) -> Row:
        child = self.child(sequence)
        child.status = "running"
        return child

    def signal(self, name: str, payload: Any = None) -> Story:
        self.engine.handle(
            Operation.SEND_SIGNAL,
            {"items": [{"id": self.row.id, "name": name, "payload": payload}]},
        )
        return self.go()

    def later(self, seconds: float) -> Story:
        self.engine.advance_to(self.engine.now + timedelta(seconds=seconds))
        return self.go()

    def cancel(self, reason: str = "") -> Story:
        self.engine.cancel(self.row, reason)
        return self.go()

    def crash(self) -> Story:
        """The worker dies: the next claim starts in another process, so to say."""
        self._forget()
        return self

    def retry(self) -> Story:
        """The next run, from a copy of the history without what made it fail."""
        row = self.row
        error: Json = row.error or {}
        voided: int | None = error.get("sequence")
        kept = [e for e in row.events if e.get("sequence") is None or e.get("sequence") != voided]
        row.events = [
            {**event, "position": index}
            for index, event in enumerate(kept, 1)
            if event["type"] != "cancel_requested"
        ]
        row.run, row.status, row.cancel_requested = row.run + 1, "pending", False
        for child in list(self.engine.rows.values()):
            if child.parent is row and child.sequence == voided:
                child.sequence = -1
        self.engine.append(row, "retried", payload={"error": row.error, "voided": voided})
        return self.go()

    def resume(self, function: Function[..., Any] | None = None) -> Story:
        """Unparks it, perhaps with other code."""
        self.deploy(function or self.function)
        self.row.parked, self.row.status = None, "pending"
        return self.go()

    def deploy(self, function: Function[..., Any]) -> Story:
        """Other code from now on."""
        self._forget()
        self.function = function
        return self

    def go(self) -> Story:
        """Runs the workflow for as long as it can go on."""
        while self.row.status == "pending":
            claimed = next(c for c in self._claim_all() if c["id"] == self.row.id)
            if self.cold or self.replay is None or self.replay.claimed["run"] != claimed["run"]:
                self._forget()
                self.replay = Replay(claimed, self.function)
            replay = self.replay
            assert replay is not None
            replay.feed(claimed["events"])
            self._hold(replay, claimed)
        return self

    def _claim_all(self) -> list[Json]:
        others = [
            row
            for row in self.engine.rows.values()
            if row is not self.row and row.status == "pending"
        ]
        for row in others:
            row.status = "waiting"
        try:
            return self.engine.claim(1)
        finally:
            for row in others:
                row.status = "pending"

    def _hold(self, replay: Replay, claimed: Json) -> None:
        outcomes: list[Json] = []
        while self.row.status == "running":
            turn = replay.turn()
            self.turns.append(turn)
            if turn.then == "park":
                release = {
                    "id": self.row.id,
                    "lease": claimed["lease"],
                    "reason": "non_determinism",
                    "message": turn.message,
                }
                self.engine.handle(Operation.RELEASE, {"items": [release]})
                return
            item: Json = {
                "id": self.row.id,
                "lease": claimed["lease"],
                "position": replay.position,
                "then": turn.then,
                "commands": turn.commands,
                "events": outcomes,
                "result": turn.result,
                "error": turn.error,
            }
            [answer] = self.engine.handle(Operation.ADVANCE_WORKFLOW, {"items": [item]})["results"]
            outcomes = [self._run_step(replay, step) for step in turn.steps]
            if answer["ok"]["status"] == "running":
                replay.feed(answer["ok"]["events"])
        if self.row.status in FINAL:
            self._forget()

    def _run_step(self, replay: Replay, step: Any) -> Json:
        replay.step_ended(step.call.sequence)
        self.steps_run.append(step.call.name)
        outcome = {"sequence": step.call.sequence, "name": step.call.name}
        try:
            given = self.step_results.get(step.call.name)
            payload = given if given is not None else step.function.plain(*step.args, **step.kwargs)
        except Exception as error:
            return {
                **outcome,
                "type": "step_failed",
                "payload": {"type": type(error).__name__, "message": str(error)},
            }
        return {**outcome, "type": "step_completed", "payload": payload}

    def __del__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        if self.replay is not None:
            self.replay.discard()
            self.replay = None

    # --- what must hold of every history ---

    def check_prefixes(self) -> None:
        """Every prefix of the history replays to its commands, and repeats none."""
        recorded = {
            (e["sequence"], _COMMAND_OF[e["type"]])
            for e in self.row.events
            if e["type"] in _COMMAND_OF
        }
        claimed = {
            "id": self.row.id,
            "run": self.row.run,
            "queue": "default",
            "name": self.function.name,
            "created_at": self.engine.at(),
        }
        claimed |= {"args": self.row.new.get("args", []), "kwargs": self.row.new.get("kwargs", {})}
        for length in range(1, len(self.row.events) + 1):
            replay = Replay(claimed, self.function)
            replay.feed(self.row.events[:length])
            turn = replay.turn()
            assert turn.then != "park", (length, turn.message)
            known = {
                (e["sequence"], _COMMAND_OF[e["type"]])
                for e in self.row.events[:length]
                if e["type"] in _COMMAND_OF
            }
            given = {(c["sequence"], c["type"]) for c in turn.commands if c["type"] != "cancel"}
            assert not given & known, (length, given & known)
            if length < len(self.row.events):
                assert given <= recorded, (length, given - recorded)
            replay.discard()
