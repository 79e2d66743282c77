"""Drives one workflow through the replay alone: no worker, no event loop, no database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from workflows._functions import Function
from workflows._operations import Operation
from workflows._replay import Replay, Turn
from workflows.testing._engine import MemoryEngine
from workflows.testing._ledger import stop_error
from workflows.testing._proof import prove
from workflows.testing._rows import FINAL, Json, Row

_MOMENT = 1000  # microseconds between two things that happen
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
        self.engine = MemoryEngine(datetime(2026, 1, 1, tzinfo=UTC))
        worker = self.engine.perform(
            Operation.START_WORKER, {"queues": ["*"], "language": "python"}
        )
        self.worker = self.engine.worker(worker["worker_id"])
        self.function = function
        self.cold = cold
        self.row = self.engine.add(function.execution(args, kwargs))
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
        """The child of the present run, or of the latest run that has one."""
        found = [child for child in self.row.children if child.sequence == sequence]
        return max(found, key=lambda child: child.parent_run)

    # --- what happens ---

    def complete(self, sequence: int, result: Any = None) -> Story:
        return self.complete_all({sequence: result})

    def complete_all(self, results: Mapping[int, Any]) -> Story:
        """Several ends before the workflow is claimed again."""
        for sequence, result in results.items():
            self.engine.end(self._take(sequence), "completed", result=result)
        return self.go()

    def fail(
        self, sequence: int, type: str = "ValueError", message: str = "no", attempts: int = 4
    ) -> Story:
        child = self._take(sequence)
        child.attempts = attempts
        self.engine.end(child, "failed", error={"type": type, "message": message})
        return self.go()

    def _take(self, sequence: int) -> Row:
        self._moment()
        child = self.child(sequence)
        self.engine.take(child, self.worker)
        return child

    def signal(self, name: str, payload: Any = None) -> Story:
        self._moment()
        item = {"id": self.row.id, "name": name, "payload": payload}
        self.engine.perform(Operation.SEND_SIGNAL, {"items": [item]})
        return self.go()

    def later(self, seconds: float) -> Story:
        self.engine.advance_to(self.engine.clock.now + round(seconds * 1e6))
        return self.go()

    def cancel(self, reason: str = "") -> Story:
        self.stop(self.row, reason)
        return self.go()

    def stop(self, row: Row, reason: str = "") -> None:
        """Asks an execution to stop."""
        self.engine.cancel(row, stop_error("Cancelled", reason))

    def crash(self) -> Story:
        """The worker dies: the next claim starts in another process, so to say."""
        self._forget()
        return self

    def retry(self) -> Story:
        """The next run, from a copy of the history without what made it fail."""
        self.engine.perform(Operation.RETRY_EXECUTION, {"items": [{"id": self.row.id}]})
        return self.go()

    def resume(self, function: Function[..., Any] | None = None) -> Story:
        """Unparks it, perhaps with other code."""
        self.deploy(function or self.function)
        self.engine.perform(Operation.RESUME_WORKFLOW, {"items": [{"id": self.row.id}]})
        return self.go()

    def deploy(self, function: Function[..., Any]) -> Story:
        """Other code from now on."""
        self._forget()
        self.function = function
        return self

    def go(self) -> Story:
        """Runs the workflow for as long as it can go on."""
        while self.row.status == "pending":
            self._moment()
            claimed = self.engine.take(self.row, self.worker)
            if self.cold or self.replay is None or self.replay.claimed["run"] != claimed["run"]:
                self._forget()
                self.replay = Replay(claimed, self.function)
            replay = self.replay
            assert replay is not None
            replay.feed(list(claimed["events"]))
            self._hold(replay, claimed)
        return self

    def _moment(self) -> None:
        self.engine.advance_to(self.engine.clock.now + _MOMENT)

    def _hold(self, replay: Replay, claimed: Json) -> None:
        outcomes: list[Json] = []
        while self.row.status == "running":
            turn = replay.turn()
            self.turns.append(turn)
            if turn.then == "park":
                self._park(claimed, turn)
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
                **turn.next_run,
            }
            [answer] = self.engine.perform(Operation.ADVANCE_WORKFLOW, {"items": [item]})["results"]
            outcomes = [self._run_step(replay, step) for step in turn.steps]
            if answer["ok"]["status"] == "running":
                self._moment()
                replay.feed(answer["ok"]["events"])
        if self.row.status in FINAL:
            self._forget()

    def _park(self, claimed: Json, turn: Turn) -> None:
        release = {
            "id": self.row.id,
            "lease": claimed["lease"],
            "reason": "non_determinism",
            "message": turn.message,
        }
        self.engine.perform(Operation.RELEASE, {"items": [release]})

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
        prove(self.row, self.row.run, self.function, "every")
        events = self.row.events
        recorded = _commands(events)
        for length in range(1, len(events) + 1):
            replay = Replay(self.row.claims[self.row.run], self.function)
            replay.feed(events[:length])
            turn = replay.turn()
            known = _commands(events[:length])
            given = {(c["sequence"], c["type"]) for c in turn.commands if c["type"] != "cancel"}
            assert not given & known, (length, given & known)
            if length < len(events):
                assert given <= recorded, (length, given - recorded)
            replay.discard()


def _commands(events: list[Json]) -> set[tuple[int, str]]:
    return {(e["sequence"], _COMMAND_OF[e["type"]]) for e in events if e["type"] in _COMMAND_OF}
