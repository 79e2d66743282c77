"""The one write of a workflow, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._ledger import Ledger, stop_error
from ._rows import ABSENT, Fault, Json, Row

_THEN = {"keep", "suspend", "complete", "fail", "continue"}


class Advance:
    """Writes the events and commands of one advance, and decides what follows."""

    def __init__(self, ledger: Ledger, row: Row, item: Mapping[str, Any]) -> None:
        self._ledger = ledger
        self._row = row
        self._item = item
        self._position: int = item["position"]
        self._then: str = item["then"]
        self._commands: list[Json] = item.get("commands") or []
        self._steps: list[Json] = item.get("events") or []
        # What is there after the position already is not written again.
        self._there = {(e["type"], e.get("sequence")) for e in row.events[self._position :]}
        self._waking = False
        self._cancelled: list[int] = []

    def write(self) -> Json:
        """Writes it and answers where the workflow stands."""
        row = self._row
        if self._then not in _THEN:
            raise Fault(
                "invalid_request",
                f"then is {self._then!r}; it must be keep, suspend, complete, fail or continue",
            )
        self._check()
        known = len(row.events)
        self._append_all()
        row.crashes, row.news_told = 0, False
        sent = row.sent.setdefault(row.run, {})
        for command in self._commands:
            sent.setdefault((command["sequence"], command["type"]), command)
        if self._then == "suspend" and not self._waking and known == self._position:
            row.status = "suspended"
            if row.worker is not None and row.token is not None:
                row.suspended_by = row.worker, row.token, len(row.events)
        for sequence in self._cancelled:
            self._cancel_child(sequence)
        if self._then in ("complete", "fail", "continue"):
            return self._finish()
        return self._answer()

    def _check(self) -> None:
        """Refuses what cannot be written, before anything is."""
        commands = [c for c in self._commands if c["type"] != "cancel"]
        if self._then in ("keep", "suspend"):
            fired = sum(c["type"] == "start_timer" and c["delay_ms"] <= 0 for c in commands)
            more = len(self._steps) + len(commands) + fired
            self._ledger.check_history(self._row, self._position, more)
        for command in commands:
            new: Json = command.get("execution") or {}
            taken = self._ledger.rows.get(new.get("id", ""))
            if taken is not None and taken.parent is not self._row:
                raise Fault(
                    "invalid_request",
                    "the id of an execution to schedule is taken by another execution; choose"
                    " another, or leave it to the library",
                )
            for field in ("idempotency_key", "signals"):
                if new.get(field):
                    raise Fault("invalid_request", f"{field} is not for workflow code")

    def _answer(self) -> Json:
        row = self._row
        return {
            "status": row.status if row.status == "suspended" else "running",
            "position": len(row.events),
            "events": row.events[self._position :],
        }

    # --- what is asked for ---

    def _append_all(self) -> None:
        for step in self._steps:
            self._waking = True
            self._event(
                step["type"], step["sequence"], name=step["name"], payload=step.get("payload")
            )
        for command in self._commands:
            kind = command["type"]
            if kind == "cancel":
                self._cancel(command["sequence"])
            elif kind == "schedule":
                self._schedule(command)
            elif kind == "start_timer":
                self._timer(command)
            elif kind == "mark_version":
                sequence, version = command["sequence"], command["version"]
                self._event("version_marked", sequence, name=command["name"], payload=version)
            else:
                self._row.state = command["state"]
                self._event("state_set", command["sequence"], payload=command["state"])

    def _event(
        self, type: str, sequence: int, *, name: str | None = None, payload: Any = ABSENT
    ) -> bool:
        if (type, sequence) in self._there:
            return False
        self._ledger.append(self._row, type, sequence=sequence, name=name, payload=payload)
        return True

    def _schedule(self, command: Json) -> None:
        new: Json = dict(command["execution"])
        new.setdefault("id", self._ledger.new_id())
        type = "child_started" if new["kind"] == "workflow" else "activity_scheduled"
        sequence, policy = command["sequence"], command.get("close_policy") or "cancel"
        if self._event(type, sequence, name=new["name"], payload={"id": new["id"]}):
            self._ledger.add(new, self._row, sequence, policy)

    def _timer(self, command: Json) -> None:
        sequence, delay = command["sequence"], max(0, command.get("delay_ms") or 0)
        name = command.get("name") or None
        fresh = self._event("timer_started", sequence, name=name, payload={"delay_ms": delay})
        if delay == 0:
            self._waking = True
            self._event("timer_fired", sequence)
        elif fresh:
            self._ledger.start_timer(self._row, sequence, name or "", delay)

    def _cancel(self, sequence: int) -> None:
        """Records the cancel at once; the child falls silent and is cancelled afterwards."""
        row, ledger = self._row, self._ledger
        if sequence in self._cancelled:
            return
        self._cancelled.append(sequence)
        if ledger.drop_timer(row, sequence):
            ledger.append(row, "timer_cancelled", sequence=sequence)
        for child in self._children(sequence):
            if child.is_open and not child.reported:
                type = "child_cancelled" if child.is_workflow else "activity_cancelled"
                ledger.append(row, type, sequence=sequence, name=child.name)

    def _cancel_child(self, sequence: int) -> None:
        for child in self._children(sequence):
            error = stop_error("Cancelled", "its parent cancelled it")
            self._ledger.cancel(child, error, mute=True)

    def _children(self, sequence: int) -> list[Row]:
        row = self._row
        return [c for c in row.children if c.sequence == sequence and c.parent_run == row.run]

    # --- the end ---

    def _finish(self) -> Json:
        row, item, ledger = self._row, self._item, self._ledger
        ok = self._then != "fail"
        if any(e["type"] == "cancel_requested" for e in row.events[self._position :]):
            return self._answer()
        row.outcomes[row.run] = {"then": self._then} | {
            name: item[name] for name in ("result", "error", "args", "kwargs") if name in item
        }
        error = item.get("error")
        row.failed_sequence = None if ok or error is None else error.get("sequence")
        if self._then == "continue" and row.cancel_requested is None:
            self._continue()
            return {"status": row.status}
        row.failures += not ok
        if row.cancel_requested is not None:
            ledger.end(row, "cancelled", error=error)
        elif ok:
            ledger.end(row, "completed", result=item.get("result"))
        else:
            ledger.end(row, "failed", error=error)
        return {"status": row.status}

    def _continue(self) -> None:
        """Ends the run, and begins the next one with what the code has not taken yet."""
        row, item, ledger = self._row, self._item, self._ledger
        carried = set(item.get("carry") or ())
        taken = [
            event
            for event in row.events
            if event["type"] == "signal_received"
            and (event["position"] in carried or event["position"] > self._position)
        ]
        ledger.append(row, "continued", payload={"args": row.args, "kwargs": row.kwargs})
        ledger.drop_timers(row)
        row.run += 1
        ledger.close_children(row, row.run - 1)
        row.args, row.kwargs = item.get("args") or [], item.get("kwargs") or {}
        row.language, row.attempts, row.due = None, 0, ledger.clock.now
        row.events.extend(
            {**event, "position": position} for position, event in enumerate(taken, 1)
        )
        ledger.make_pending(row)
