"""The rules that all operations of the engine in memory share.

They follow the statements of the library one by one: an end tells the parent and
closes children, a cancel marks what has begun and ends what has not, an event wakes
who is suspended. A test runs the same scenarios against the library on PostgreSQL.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from ._clock import Agenda, Clock, micros
from ._rows import ABSENT, Fault, Json, Row, Status, WorkerRow

MAX_HISTORY = 50_000
_PROMOTE, _FIRE, _EXPIRE, _RECOVER = range(4)  # what comes first of what is due at one instant


def stop_error(type: str, reason: str) -> Json:
    """Answers the error of what was stopped."""
    message = reason or "somebody asked it to stop"
    return {"type": type, "message": message, "non_retryable": True, "language": "core"}


class Ledger:
    """All that is, and what follows from each change of it."""

    def __init__(self, start: datetime, seed: int = 0) -> None:
        self.clock = Clock(start)
        self.agenda = Agenda()
        self.rows: dict[str, Row] = {}
        self.keys: dict[tuple[str, str], Row] = {}
        self.pending: dict[str, Row] = {}
        self.workers: dict[str, WorkerRow] = {}
        self.max_history = MAX_HISTORY
        self.version: int = 0  # grows with every change
        self.on_event: list[Callable[[Row, Json], None]] = []
        self._random = random.Random(f"{seed}:ids")
        self._last_id = 0

    # --- time ---

    def advance_to(self, to: int) -> None:
        """Goes forward to an instant; what is due until then happens at its own time."""
        while (due := self.agenda.take(to)) is not None:
            self.clock.advance(due.at)
            self.version += 1
            if due.act is not None:
                due.act()
        self.clock.advance(to)

    # --- rows ---

    def new_id(self) -> str:
        """Answers a UUIDv7: later ones are greater."""
        self._last_id = max(self._last_id + 1, (self.clock.now // 1000) << 12)
        time, count = self._last_id >> 12, self._last_id & 0xFFF
        low = self._random.getrandbits(62)
        return str(uuid.UUID(int=time << 80 | 7 << 76 | count << 64 | 2 << 62 | low))

    def new_token(self) -> str:
        """Answers a random UUID."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def add(
        self,
        new: Json,
        parent: Row | None = None,
        sequence: int = 0,
        close_policy: str | None = None,
    ) -> Row:
        """Makes an execution, or answers the one that has its id."""
        id = new.get("id") or self.new_id()
        if id in self.rows:
            return self.rows[id]
        now = self.clock.now
        due = micros(datetime.fromisoformat(new["run_at"])) if new.get("run_at") else now
        row = self.rows[id] = Row(id, new, now, due + 1000 * max(0, new.get("delay_ms") or 0))
        row.args, row.kwargs = new.get("args") or [], new.get("kwargs") or {}
        if parent is not None:
            row.parent, row.parent_run, row.sequence = parent, parent.run, sequence
            row.close_policy = close_policy
            parent.children.append(row)
        if row.due > now:
            self.schedule(row, row.due)
        else:
            self.make_pending(row)
        self._limit(row)
        return row

    def _limit(self, row: Row) -> None:
        """Enters its deadlines; a child's is not after its parent's, unless it is detached."""
        now, parent = self.clock.now, row.parent
        deadline = now + 1000 * row.new["timeout_ms"] if row.new.get("timeout_ms") else None
        if parent is not None and parent.deadline is not None and row.close_policy != "detach":
            deadline = min(deadline or parent.deadline, parent.deadline)
        row.deadline = deadline
        if deadline is not None:
            what = f"the timeout of {row.kind} {row.name}"
            expire = partial(self._expire, row, "ExecutionTimeout")
            row.waiting.append(self.agenda.add(deadline, what, expire, _EXPIRE))
        if row.new.get("schedule_timeout_ms"):
            what = f"the schedule timeout of {row.kind} {row.name}"
            expire = partial(self._expire, row, "ScheduleTimeout")
            at = now + 1000 * row.new["schedule_timeout_ms"]
            row.waiting.append(self.agenda.add(at, what, expire, _EXPIRE))

    def make_pending(self, row: Row) -> None:
        """Lets an execution be claimed."""
        row.status = "pending"
        self.pending[row.id] = row

    def schedule(self, row: Row, at: int) -> None:
        """Lets an execution be claimed from an instant on."""
        row.status, row.due = "scheduled", at
        what = f"the start of {row.kind} {row.name}"
        self.agenda.add(at, what, partial(self._promote, row, at), _PROMOTE)

    def _promote(self, row: Row, at: int) -> None:
        if row.status == "scheduled" and row.due == at:
            self.make_pending(row)

    # --- events ---

    def append(
        self,
        row: Row,
        type: str,
        *,
        sequence: int | None = None,
        name: str | None = None,
        payload: Any = ABSENT,
        key: str | None = None,
    ) -> Json:
        """Writes an event into a history."""
        event: Json = {"position": len(row.events) + 1, "type": type, "at": self.clock.at()}
        if sequence is not None:
            event["sequence"] = sequence
        if name is not None:
            event["name"] = name
        if payload is not ABSENT:
            event["payload"] = payload
        if key is not None:
            row.keys.add(key)
        row.events.append(event)
        for listener in list(self.on_event):
            listener(row, event)
        return event

    def tell(self, row: Row, type: str, **fields: Any) -> None:
        """Writes an event that comes from outside, and wakes the workflow."""
        self.append(row, type, **fields)
        if row.status == "suspended":
            row.due = self.clock.now
            if row.parked is None:
                self.make_pending(row)
        elif row.status == "running" and not row.news_told:
            row.news_told = True
            self.notify(row, "new_events")

    def notify(self, row: Row, what: str) -> None:
        """Tells the holder something about its lease."""
        if row.worker is not None and not row.worker.gone:
            row.worker.notices.append({"id": row.id, "lease": row.lease, what: True})

    def check_history(self, row: Row, length: int, more: int) -> None:
        """Refuses what would make a history too long.

        Raises:
            Fault: it would.
        """
        limit = self.max_history
        if more > 0 and length + more > limit:
            raise Fault(
                "history_too_long",
                f"the history of workflow {row.id} has {length} events, and {more} more would pass"
                f" the limit of {limit} (max_history); its code must continue as new"
                " (continue_as_new) before",
                id=row.id,
                length=length,
                limit=limit,
            )

    # --- timers ---

    def start_timer(self, row: Row, sequence: int, name: str, delay_ms: int) -> None:
        """Starts a durable timer."""
        row.timers[sequence] = self.agenda.add(
            self.clock.now + 1000 * delay_ms,
            f"the timer {name!r} of workflow {row.name}",
            partial(self._fire, row, sequence),
            _FIRE,
        )

    def _fire(self, row: Row, sequence: int) -> None:
        del row.timers[sequence]
        self.tell(row, "timer_fired", sequence=sequence)

    def drop_timer(self, row: Row, sequence: int) -> bool:
        """Takes a timer back, unless it has fired."""
        due = row.timers.pop(sequence, None)
        if due is not None:
            due.drop()
        return due is not None

    def drop_timers(self, row: Row) -> None:
        """Takes all timers of a workflow back."""
        for sequence in list(row.timers):
            self.drop_timer(row, sequence)

    def _expire(self, row: Row, type: str) -> None:
        if not row.is_open or (type == "ScheduleTimeout" and row.started is not None):
            return
        message = (
            "the execution did not end within its timeout"
            if type == "ExecutionTimeout"
            else "no worker started the execution within its schedule timeout"
        )
        error = {"type": type, "message": message, "non_retryable": True, "language": "core"}
        self.end(row, "failed", error=error, seized=True)

    # --- ends ---

    def end(
        self,
        row: Row,
        status: Status,
        *,
        result: Any = ABSENT,
        error: Any = None,
        seized: bool = False,
    ) -> None:
        """Ends an execution, tells its parent and closes its children.

        Args:
            row: the execution.
            status: a final one.
            result: of a completed one.
            error: of another.
            seized: it is not its holder who ends it.
        """
        if seized and row.status == "running":
            self.notify(row, "lost")
        self.pending.pop(row.id, None)
        row.status, row.finished, row.parked = status, self.clock.now, None
        row.result, row.error = (result, None) if status == "completed" else (ABSENT, error)
        self.drop_timers(row)
        for due in row.waiting:
            due.drop()
        row.waiting.clear()
        self._report(row)
        self.close_children(row, row.run)

    def _report(self, row: Row) -> None:
        """Tells the parent, if it still is in the same run and wants to know."""
        parent = row.parent
        if parent is None or row.reported or not parent.is_open or parent.run != row.parent_run:
            return
        prefix = "child" if row.is_workflow else "activity"
        payload = (
            row.result
            if row.status == "completed"
            else {"error": row.error, "attempts": row.attempts}
        )
        type = f"{prefix}_{row.status}"
        self.tell(parent, type, sequence=row.sequence, name=row.name, payload=payload)

    def close_children(self, row: Row, run: int) -> None:
        """Cancels the children of a run that has ended, unless they were detached."""
        for child in row.children:
            if (
                child.parent_run == run
                and child.close_policy == "cancel"
                and child.cancel_requested is None
                and child.is_open
            ):
                self.cancel(child, stop_error("Cancelled", "its parent ended"))

    def cancel(
        self, row: Row, error: Mapping[str, Any], *, force: bool = False, mute: bool = False
    ) -> bool:
        """Asks an execution to stop, and answers whether that changed anything.

        What has begun is marked, what has not is ended. A mute child does not report its end.
        """
        begun = row.status == "running" or (
            row.is_workflow
            and row.started is not None
            and row.status in ("scheduled", "pending", "suspended")
        )
        if begun and row.parked is None and not force:
            return self._mark(row, error, mute)
        if (
            (force and row.is_open)
            or row.parked is not None
            or row.status in ("scheduled", "pending")
        ):
            row.cancel_requested = row.cancel_requested or self.clock.now
            row.reported = row.reported or mute
            self.end(row, "cancelled", error=dict(error), seized=True)
            return True
        return False

    def _mark(self, row: Row, error: Mapping[str, Any], mute: bool) -> bool:
        fresh = row.cancel_requested is None
        row.reported = row.reported or mute
        if not fresh:
            return False
        row.cancel_requested = self.clock.now
        if row.is_workflow and row.language is None:
            row.error = dict(error)  # it waits for another run, whose start tells of it
        elif row.is_workflow:
            self.tell(row, "cancel_requested", payload=dict(error))
        elif not row.cancel_told:
            row.cancel_told = True
            self.notify(row, "cancel_requested")
        return True

    # --- workers that are lost ---

    def lose(self, worker: WorkerRow, after_ms: int) -> None:
        """A worker has died; the others notice it after a while."""
        worker.gone = True
        what = f"the recovery of what worker {worker.id} held"
        recover = partial(self.recover, worker, crashed=True)
        self.agenda.add(self.clock.now + 1000 * after_ms, what, recover, _RECOVER)

    def held_by(self, worker: WorkerRow) -> list[Row]:
        """Answers what a worker holds."""
        rows = self.rows.values()
        return [row for row in rows if row.status == "running" and row.worker is worker]

    def recover(self, worker: WorkerRow, *, crashed: bool) -> None:
        """Takes what a worker held."""
        for row in self.held_by(worker):
            self._take_back(row, crashed)

    def _take_back(self, row: Row, crashed: bool) -> None:
        if row.cancel_requested is not None and not row.is_workflow:
            message = "it was asked to stop, and its worker died"
            self.end(row, "cancelled", error=stop_error("Cancelled", message))
        elif crashed and row.crashes >= 2 and row.alone:
            row.crashes += 1
            message = f"the worker died {row.crashes} times in a row while it ran this"
            self.end(row, "failed", error=stop_error("WorkerLost", message))
            row.parked = "worker_lost"
        else:
            if crashed and not (row.crashes >= 2 and not row.alone):
                row.crashes += 1
            self.make_pending(row)
        row.token, row.alone = None, False
