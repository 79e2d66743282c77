"""The engine in memory: one process, no database, and a clock that skips what nobody waits through.

It follows the rules that workflows depend on: positions without gaps, an
advance that answers newer events, cancels that win, leases with epochs. It is
for tests of the adapter; the real rules are the core's.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from workflows._operations import Operation

Json = dict[str, Any]
FINAL = ("completed", "failed", "cancelled")


@dataclass
class Row:
    """An execution."""

    id: str
    new: Json
    number: int
    status: str = "pending"
    run: int = 1
    epoch: int = 0
    token: str = ""
    worker: str = ""
    attempts: int = 0
    failures: int = 0
    parent: Row | None = None
    sequence: int = 0
    reported: bool = False
    cancel_requested: bool = False
    parked: str | None = None
    released: str | None = None
    result: Any = None
    error: Any = None
    state: Any = None
    progress: Any = None
    due: datetime | None = None
    events: list[Json] = field(default_factory=list[Json])
    timers: dict[int, datetime] = field(default_factory=dict[int, datetime])
    keys: set[str] = field(default_factory=set[str])

    @property
    def is_workflow(self) -> bool:
        return self.new["kind"] == "workflow"


class MemoryEngine:
    """Performs operations, as the library does."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.rows: dict[str, Row] = {}
        self.notices: list[Json] = []
        self.draining = False
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.changed = asyncio.Event()

    # --- as a channel ---

    async def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        await asyncio.sleep(0)
        self.calls.append((operation.name.lower(), request))
        if operation is Operation.CLAIM:
            return await self._long_poll(
                lambda: self.claim(request["n"]) or (["draining"] if self.draining else []),
                "executions",
            )
        if operation is Operation.PULL_EVENTS:
            return await self._long_poll(self._take_notices, "notices")
        try:
            return self.handle(operation, request)
        finally:
            self.changed.set()

    async def _long_poll(self, take: Any, name: str) -> Json:
        while not (found := take()):
            self.changed.clear()
            try:
                async with asyncio.timeout(0.02):
                    await self.changed.wait()
            except TimeoutError:
                if name == "executions":
                    self.skip()
        return {name: [], "draining": True} if found == ["draining"] else {name: found}

    def handle(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        method = getattr(self, "_" + operation.name.lower())
        if operation.name in ("START_WORKER", "STOP_WORKER", "CREATE_EXECUTION"):
            return method(request)
        return {"results": [method(item) for item in request["items"]]}

    # --- time ---

    def at(self) -> str:
        self.now += timedelta(milliseconds=1)
        return self.now.isoformat()

    def skip(self) -> bool:
        """Goes on to the next thing that is due, if nothing runs."""
        due = [
            at
            for row in self.rows.values()
            if row.status not in FINAL
            for at in row.timers.values()
        ]
        due += [row.due for row in self.rows.values() if row.status == "scheduled" and row.due]
        if not due or any(row.status in ("pending", "running") for row in self.rows.values()):
            return False
        self.advance_to(min(due))
        return True

    def advance_to(self, moment: datetime) -> None:
        self.now = max(self.now, moment)
        for row in self.rows.values():
            if row.status == "scheduled" and row.due is not None and row.due <= self.now:
                row.status = "pending"
            for sequence in [
                s for s, at in sorted(row.timers.items(), key=lambda t: t[1]) if at <= self.now
            ]:
                del row.timers[sequence]
                if row.status not in FINAL:
                    self.tell(row, "timer_fired", sequence=sequence)

    # --- rows ---

    def create(self, new: Json, parent: Row | None = None, sequence: int = 0) -> Row:
        id = new.get("id") or f"018f0000-0000-7000-8000-{len(self.rows) + 1:012x}"
        row = self.rows.setdefault(
            id, Row(id, new, len(self.rows), parent=parent, sequence=sequence)
        )
        if new.get("delay_ms"):
            row.status, row.due = "scheduled", self.now + timedelta(milliseconds=new["delay_ms"])
        return row

    def append(self, row: Row, type: str, **fields: Any) -> Json:
        event = {
            "position": len(row.events) + 1,
            "type": type,
            "at": self.at(),
            **{k: v for k, v in fields.items() if v is not None},
        }
        row.events.append(event)
        return event

    def tell(self, row: Row, type: str, **fields: Any) -> None:
        """Appends an event from outside, and wakes the workflow."""
        self.append(row, type, **fields)
        if row.status == "suspended" and row.parked is None:
            row.status = "pending"
        elif row.status == "running":
            self.notices.append(
                {
                    "id": row.id,
                    "lease": self.lease(row),
                    **(
                        {"cancel_requested": True}
                        if type == "cancel_requested"
                        else {"new_events": True}
                    ),
                }
            )

    def lease(self, row: Row) -> Json:
        return {"epoch": row.epoch, "token": row.token}

    def claim(self, n: int = 1) -> list[Json]:
        self.advance_to(self.now)
        ready = sorted(
            (row for row in self.rows.values() if row.status == "pending"),
            key=lambda r: (-r.new.get("priority", 5), r.number),
        )
        return [self._claimed(row) for row in ready[: 0 if self.draining else n]]

    def _claimed(self, row: Row) -> Json:
        row.status, row.epoch, row.token = "running", row.epoch + 1, str(uuid.uuid4())
        if row.is_workflow and not any(event["type"] == "started" for event in row.events):
            self.append(row, "started", payload={"language": "python"})
        row.attempts += not row.is_workflow
        new = row.new
        claimed = {
            "id": row.id,
            "run": row.run,
            "kind": new["kind"],
            "name": new["name"],
            "queue": new.get("queue", "default"),
            "root_id": row.id,
            "lease": self.lease(row),
            "priority": 5,
            "attempt": row.attempts,
            "args": new.get("args", []),
            "kwargs": new.get("kwargs", {}),
            "created_at": self.now.isoformat(),
            "claimed_at": self.now.isoformat(),
            "position": len(row.events),
            "cancel_requested": row.cancel_requested,
            "progress": row.progress,
            "retry": new.get("retry"),
            "attempt_timeout_ms": new.get("attempt_timeout_ms", 0),
        }
        return (
            {**claimed, "events": [dict(event) for event in row.events]}
            if row.is_workflow
            else claimed
        )

    def lose(self, row: Row) -> None:
        """Takes the lease away, as after a worker's death."""
        self.notices.append({"id": row.id, "lease": self.lease(row), "lost": True})
        row.status, row.token = "pending", ""
        self.changed.set()

    def _held(self, item: Mapping[str, Any]) -> Row | Json:
        row = self.rows.get(item["id"])
        if row is None or row.status != "running" or row.token != item["lease"]["token"]:
            return {
                "error": {"code": "lease_lost", "message": "no longer held", "retryable": False}
            }
        return row

    # --- operations ---

    def _create_execution(self, request: Mapping[str, Any]) -> Json:
        return {
            "results": [
                {"id": self.create(dict(new)).id, "created": True} for new in request["items"]
            ]
        }

    def _start_worker(self, request: Mapping[str, Any]) -> Json:
        self.draining = False
        return {"worker_id": str(uuid.uuid4())}

    def _stop_worker(self, request: Mapping[str, Any]) -> Json:
        self.draining = True
        running = [row for row in self.rows.values() if row.status == "running"]
        if request.get("drain"):
            return {"released": 0}
        for row in running:
            row.status, row.token = "pending", ""
        return {"released": len(running)}

    def _advance_workflow(self, item: Mapping[str, Any]) -> Json:
        row = self._held(item)
        if not isinstance(row, Row):
            return row
        known, position, then = len(row.events), item["position"], item["then"]
        events: list[Json] = item.get("events") or []
        commands: list[Json] = item.get("commands") or []
        news = (
            any(e["type"] == "cancel_requested" for e in row.events[position:])
            if then in ("complete", "fail")
            else known > position or bool(events)
        )
        for event in events:
            self.append(
                row,
                event["type"],
                sequence=event["sequence"],
                name=event["name"],
                payload=event.get("payload"),
            )
        for command in commands:
            news = self._command(row, command) or news
        if then == "keep" or news:
            return {
                "ok": {
                    "status": "running",
                    "position": len(row.events),
                    "events": [dict(e) for e in row.events[position:]],
                }
            }
        if then == "suspend":
            row.status = "suspended"
            return {"ok": {"status": "suspended", "position": len(row.events)}}
        self.end(row, then == "complete", item.get("result"), item.get("error"))
        return {"ok": {"status": row.status}}

    def _command(self, row: Row, command: Json) -> bool:
        kind, sequence = command["type"], command["sequence"]
        if kind == "schedule":
            child = self.create(command["execution"], row, sequence)
            is_child = command["execution"]["kind"] == "workflow"
            self.append(
                row,
                "child_started" if is_child else "activity_scheduled",
                sequence=sequence,
                name=child.new["name"],
                payload={"id": child.id},
            )
        elif kind == "start_timer":
            self.append(
                row,
                "timer_started",
                sequence=sequence,
                name=command.get("name"),
                payload={"delay_ms": command["delay_ms"]},
            )
            if command["delay_ms"] <= 0:
                self.append(row, "timer_fired", sequence=sequence)
                return True
            row.timers[sequence] = self.now + timedelta(milliseconds=command["delay_ms"])
        elif kind == "cancel":
            self._cancel_command(row, sequence)
        elif kind == "mark_version":
            self.append(
                row,
                "version_marked",
                sequence=sequence,
                name=command["name"],
                payload=command["version"],
            )
        else:
            row.state = command["state"]
            self.append(row, "state_set", sequence=sequence, payload=command["state"])
        return False

    def _cancel_command(self, row: Row, sequence: int) -> None:
        if row.timers.pop(sequence, None) is not None:
            self.append(row, "timer_cancelled", sequence=sequence)
        for child in list(self.rows.values()):
            if (
                child.parent is row
                and child.sequence == sequence
                and child.status not in FINAL
                and not child.reported
            ):
                self.append(
                    row,
                    "child_cancelled" if child.is_workflow else "activity_cancelled",
                    sequence=sequence,
                    name=child.new["name"],
                )
                child.reported = True
                self.cancel(child)

    def cancel(self, row: Row, reason: str = "") -> None:
        """Asks an execution to stop."""
        if row.status in FINAL or row.cancel_requested:
            return
        row.cancel_requested = True
        if row.is_workflow and row.events:
            told = {"type": "Cancelled", "message": reason} if reason else None
            self.tell(row, "cancel_requested", payload=told)
        elif row.status == "running":
            self.notices.append({"id": row.id, "lease": self.lease(row), "cancel_requested": True})
        else:
            message = reason or "it was cancelled"
            self.end(row, False, None, {"type": "Cancelled", "message": message})
        self.changed.set()

    def end(self, row: Row, ok: bool, result: Any, error: Any) -> None:
        """Ends an execution, and tells its parent."""
        row.status = "cancelled" if row.cancel_requested else "completed" if ok else "failed"
        row.result, row.error = (result, None) if row.status == "completed" else (None, error)
        row.timers.clear()
        for child in list(self.rows.values()):
            if child.parent is row and child.new.get("close_policy") != "detach":
                self.cancel(child)
        if row.parent is not None and not row.reported and row.parent.status not in FINAL:
            kind = "child_" if row.is_workflow else "activity_"
            payload = (
                row.result
                if row.status == "completed"
                else {"error": row.error, "attempts": row.attempts}
            )
            self.tell(
                row.parent,
                kind + row.status,
                sequence=row.sequence,
                name=row.new["name"],
                payload=payload,
            )

    def _complete_execution(self, item: Mapping[str, Any]) -> Json:
        row = self._held(item)
        if isinstance(row, Row):
            self.end(row, True, item.get("result"), None)
            return {"ok": {"status": row.status}}
        return row

    def _fail_execution(self, item: Mapping[str, Any]) -> Json:
        row = self._held(item)
        if not isinstance(row, Row):
            return row
        row.failures += 1
        retry: Json = row.new.get("retry") or {}
        if (
            not row.cancel_requested
            and not item["error"].get("non_retryable")
            and row.failures <= retry.get("retries", 3)
        ):
            row.status, row.due = (
                "scheduled",
                self.now + timedelta(milliseconds=retry.get("initial_ms", 1000)),
            )
        else:
            self.end(row, False, None, item["error"])
        return {"ok": {"status": row.status}}

    def _release(self, item: Mapping[str, Any]) -> Json:
        row = self._held(item)
        if not isinstance(row, Row):
            return row
        row.released = item["reason"]
        if item["reason"] == "non_determinism":
            row.status, row.parked = "suspended", item["message"]
        else:
            row.status, row.due = "scheduled", self.now + timedelta(hours=1)
        return {"ok": {"status": row.status}}

    def _send_signal(self, item: Mapping[str, Any]) -> Json:
        row, key = self.rows.get(item["id"]), item.get("idempotency_key")
        if row is None or row.status in FINAL:
            code = "execution_not_found" if row is None else "execution_finished"
            return {"error": {"code": code, "message": "no", "retryable": False}}
        if key in row.keys:
            return {"ok": {"delivered": False}}
        if key:
            row.keys.add(key)
        self.tell(row, "signal_received", name=item["name"], payload=item.get("payload"))
        return {"ok": {"delivered": True}}

    def _heartbeat(self, item: Mapping[str, Any]) -> Json:
        row = self._held(item)
        if isinstance(row, Row):
            row.progress = item["progress"]
            return {"ok": {"status": row.status}}
        return row

    def _take_notices(self) -> list[Json]:
        taken, self.notices = self.notices, []
        return taken
