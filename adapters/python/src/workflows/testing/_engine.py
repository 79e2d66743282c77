"""The operations of the library, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Mapping
from datetime import datetime
from typing import Any

from .._operations import Operation
from .._payload import dump_request, loads
from .._wire_errors import fault_to_exception
from ._advance import Advance
from ._ledger import stop_error
from ._looking import Looking
from ._refusals import MAX_PAYLOAD, check_sizes
from ._retrying import kept
from ._rows import ABSENT, Fault, Json, Row, WorkerRow

_LOOKS = {
    Operation.GET_EXECUTION,
    Operation.GET_HISTORY,
    Operation.LIST_EXECUTIONS,
    Operation.PULL_EVENTS,
    Operation.STATS,
    Operation.WAIT_EXECUTION,
}
_NOTHING: Json = {"executions": []}
_DEFAULT_RETRY: Mapping[str, Any] = {
    "retries": 3,
    "initial_ms": 1000,
    "factor": 2.0,
    "max_ms": 60_000,
}


class MemoryEngine(Looking):
    """Performs operations as the library does, at once: what has to wait is the caller's affair.

    Delays have no jitter here, so that tests can say when something happens.
    """

    def __init__(self, start: datetime, seed: int = 0) -> None:
        super().__init__(start, seed)
        self.lock = threading.RLock()
        self.changed: list[Callable[[], None]] = []
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.keeps_calls = False
        self.put_back: list[Row] = []
        self._solo = False  # something that crashed twice is held, and nothing beside it

    def perform(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        """Performs an operation on what the wire makes of the request, and of the reply.

        Raises:
            WorkflowsError: the operation failed; the class follows from the fault's code.
            PayloadError: the request is not plain JSON.
        """
        packed = dump_request(request)
        with self.lock:
            reply = dump_request(self.handle(operation, loads(packed), len(packed)))
        return loads(reply)

    def handle(
        self, operation: Operation, request: Mapping[str, Any], size: int = MAX_PAYLOAD + 1
    ) -> Any:
        """Performs an operation; `size` says how large its request is, in bytes."""
        if self.keeps_calls:
            self.calls.append((operation.name.lower(), request))
        try:
            method = getattr(self, f"_{operation.name.lower()}")
            if operation in self._BATCHES:
                reply: Any = {
                    "results": [self._each(method, item, size) for item in request["items"]]
                }
            else:
                reply = method(request)
        except Fault as fault:
            raise fault_to_exception(fault.wire) from None
        if operation not in _LOOKS and reply != _NOTHING:
            self.version += 1
            for listener in self.changed:
                listener()
        return reply

    def _each(self, method: Callable[[Json], Any], item: Json, size: int) -> Json:
        try:
            if size > MAX_PAYLOAD:
                check_sizes(item)
            return {"ok": method(item)}
        except Fault as fault:
            return {"error": fault.wire}

    def _held(self, item: Json, *repeat: str) -> Row | None:
        """Answers the row that is held, or None if this very write has been taken before."""
        row = self.find(item["id"])
        if row.bears(item["lease"]):
            if row.status == "running":
                return row
            if row.status in repeat:
                return None
        raise Fault(
            "lease_lost",
            f"execution {row.id} is no longer held under this lease: it went elsewhere, or has"
            " ended",
            id=row.id,
        )

    # --- making and claiming ---

    def _create_execution(self, request: Json) -> Json:
        for new in request["items"]:
            check_sizes(new)
        return {"results": [self._created(dict(new)) for new in request["items"]]}

    def _created(self, new: Json) -> Json:
        signals: list[Json] = new.pop("signals", None) or []
        if signals and new["kind"] != "workflow":
            raise Fault("invalid_request", f"signals are for workflows, not for a {new['kind']}")
        key = (new["name"], new.get("idempotency_key") or "")
        row = self.keys.get(key) if key[1] else self.rows.get(new.get("id", ""))
        created = row is None
        if row is None:
            row = self.add(new)
            if key[1]:
                self.keys[key] = row
        reply: Json = {"id": row.id, "created": created}
        if signals:
            reply["signaled"] = self._signal_all(row, signals)
        return reply

    def _signal_all(self, row: Row, signals: list[Json]) -> bool:
        for signal in signals:
            try:
                self._send_signal({"id": row.id, **signal})
            except Fault as fault:
                if fault.wire["code"] == "execution_finished":
                    return False
                raise
        return True

    def _start_worker(self, request: Json) -> Json:
        worker = WorkerRow(self.new_token(), request)
        self.workers[worker.id] = worker
        return {"worker_id": worker.id, "max_history": self.max_history}

    def worker(self, id: str) -> WorkerRow:
        """Answers a worker that has not stopped.

        Raises:
            Fault: there is none.
        """
        worker = self.workers.get(id)
        if worker is None or worker.gone:
            raise Fault("worker_not_found", f"no worker of this process has id {id}", id=id)
        return worker

    def _stop_worker(self, request: Json) -> Json:
        worker = self.worker(request["worker_id"])
        worker.draining = True
        if request.get("drain"):
            return {"released": 0}
        worker.gone = True
        held = self.held_by(worker)
        for row in held:
            self._let_go(row, "drain", "")
        return {"released": len(held)}

    def _claim(self, request: Json) -> Json:
        worker = self.worker(request["worker_id"])
        if worker.draining:
            return {"executions": [], "draining": True}
        lacking = {(each["kind"], each["name"]) for each in request.get("lacking") or ()}
        due = self._due(worker, request["n"], lacking)
        return {"executions": [self.take(row, worker) for row in due]}

    def _due(self, worker: WorkerRow, most: int, lacking: Container[tuple[str, str]]) -> list[Row]:
        """Answers what the worker is to have, best first. What crashed twice is claimed alone."""
        language = worker.request.get("language")
        due = sorted(
            (
                row
                for row in self.pending.values()
                if worker.serves(row.queue)
                and (not row.is_workflow or row.language in (None, language))
                and (row.kind, row.name) not in lacking
            ),
            key=lambda row: (-row.priority, row.due, row.id),
        )
        suspects = [row for row in due if row.crashes >= 2]
        if suspects or self._solo:
            held = self.held_by(worker)
            if any(row.alone for row in held):
                return []
            self._solo = bool(suspects) and not held
            if self._solo:
                suspects[0].alone = True
                return suspects[:1]
        return [row for row in due if row.crashes < 2][:most]

    def take(self, row: Row, worker: WorkerRow) -> Json:
        """Claims an execution, and answers it with its history."""
        suspended = row.suspended_by
        self.pending.pop(row.id, None)
        row.status, row.worker, row.suspended_by = "running", worker, None
        row.epoch, row.token = row.epoch + 1, self.new_token()
        row.started = row.started or self.clock.now
        row.cancel_told, row.news_told = row.cancel_requested is not None, False
        if row.is_workflow and row.language is None:
            self._begin(row, worker)
        elif not row.is_workflow:
            row.attempts += 1
        row.claims[row.run] = claimed = _claimed(row)
        if not row.is_workflow:
            return claimed
        if suspended is None:
            return {**claimed, "events": row.events}
        holder, token, after = suspended
        claimed = {**claimed, "seen": after}
        if not worker.warm or holder is not worker:
            return {**claimed, "events": row.events}
        return {**claimed, "events": row.events[after:], "after": after, "previous_token": token}

    def _begin(self, row: Row, worker: WorkerRow) -> None:
        """Begins a run; a cancel that came between two runs is told behind its start."""
        fields = ("language", "runtime", "sdk_version")
        payload = {field: worker.request.get(field) or "" for field in fields}
        row.language, row.attempts = payload["language"], row.attempts + 1
        self.append(row, "started", payload=payload)
        if row.cancel_requested is not None:
            self.append(row, "cancel_requested", payload=row.error)

    # --- outcomes ---

    def _advance_workflow(self, item: Json) -> Json:
        repeat = {
            "suspend": ("suspended", "pending"),
            "complete": ("completed", "cancelled"),
            "fail": ("failed", "cancelled"),
        }
        row = self._held(item, *repeat.get(item["then"], ()))
        if row is None:
            then = item["then"]
            return {"status": "suspended" if then == "suspend" else self.find(item["id"]).status}
        return Advance(self, row, item).write()

    def _suspend_workflow(self, item: Json) -> Json:
        return self._advance_workflow({**item, "then": "suspend"})

    def _record_step(self, item: Json) -> Json:
        return self._advance_workflow({**item, "events": [item["event"]], "then": "keep"})

    def _complete_execution(self, item: Json) -> Json:
        if self.find(item["id"]).is_workflow:
            return self._advance_workflow({"position": 0, **item, "then": "complete"})
        row = self._held(item, "completed", "cancelled")
        if row is not None:
            row.crashes = 0
            if row.cancel_requested is not None:
                self.end(row, "cancelled")
            else:
                self.end(row, "completed", result=item.get("result"))
        return {"status": self.find(item["id"]).status}

    def _fail_execution(self, item: Json) -> Json:
        if self.find(item["id"]).is_workflow:
            return self._advance_workflow({"position": 0, **item, "then": "fail"})
        row = self._held(item, "failed", "scheduled", "pending", "cancelled")
        if row is not None:
            self._failed(row, item["error"])
        return {"status": self.find(item["id"]).status}

    def _failed(self, row: Row, error: Json) -> None:
        retry: Json = {**_DEFAULT_RETRY, **(row.new.get("retry") or {})}
        again = (
            not error.get("non_retryable")
            and row.failures < retry["retries"]
            and error["type"] not in retry.get("non_retryable", ())
            and (row.deadline is None or row.deadline > self.clock.now)
        )
        delay = min(retry["max_ms"], retry["initial_ms"] * retry["factor"] ** min(row.failures, 40))
        row.failures, row.crashes = row.failures + 1, 0
        if row.cancel_requested is not None:
            self.end(row, "cancelled", error=error)
        elif not again:
            self.end(row, "failed", error=error)
        elif delay < 1:
            row.due = self.clock.now
            self.make_pending(row)
        else:
            self.schedule(row, self.clock.now + round(1000 * delay))
        row.error = error

    def _release(self, item: Json) -> Json:
        row = self._held(item, "scheduled", "pending", "suspended")
        if row is not None:
            self._let_go(row, item["reason"], item.get("message") or item["reason"])
        return {"status": self.find(item["id"]).status}

    def _let_go(self, row: Row, reason: str, message: str) -> None:
        """Puts an execution back: no attempt, no crash. What was asked to stop is ended instead."""
        row.released, row.releases, row.crashes = reason, row.releases + 1, 0
        self.put_back.append(row)
        if row.cancel_requested is not None and not row.is_workflow:
            self.end(
                row,
                "cancelled",
                error=stop_error("Cancelled", "it was asked to stop before it ran"),
            )
            return
        if not row.is_workflow:
            row.started = None if row.attempts == 1 else row.started
            row.attempts -= 1
        row.token, row.alone = None, False
        if reason == "drain":
            self.make_pending(row)
        elif reason == "no_function":
            wait = min(30_000, 500 * 2 ** min(row.releases - 1, 10))
            self.schedule(row, self.clock.now + 1000 * wait)
        else:
            row.status, row.parked = "suspended", message

    def _heartbeat(self, item: Json) -> Json:
        row = self.find(item["id"])
        if row.status != "running" or not row.bears(item["lease"]):
            raise Fault("lease_lost", f"execution {row.id} is no longer held", id=row.id)
        row.progress = item["progress"]
        return {"status": "running"}

    def _pull_events(self, request: Json) -> Json:
        worker = self.worker(request["worker_id"])
        notices, worker.notices = worker.notices, []
        return {"notices": notices}

    # --- acts from outside ---

    def _send_signal(self, item: Json) -> Json:
        row, key = self.find(item["id"]), item.get("idempotency_key")
        if not row.is_workflow:
            raise Fault(
                "invalid_state",
                f"execution {row.id} is of kind {row.kind}; only workflows take signals",
                id=row.id,
                kind=row.kind,
            )
        if key is not None and key in row.keys:
            return {"delivered": False}
        if not row.is_open:
            raise Fault(
                "execution_finished",
                f"workflow {row.id} has ended ({row.status}) and takes no more signals",
                id=row.id,
                status=row.status,
            )
        self.check_history(row, len(row.events), 1)
        self.tell(row, "signal_received", name=item["name"], payload=item.get("payload"), key=key)
        return {"delivered": True}

    def _cancel_execution(self, item: Json) -> Json:
        row = self.find(item["id"])
        changed = self.cancel(row, stop_error("Cancelled", item.get("reason", "")))
        return {"status": row.status, "changed": changed}

    def _terminate_execution(self, item: Json) -> Json:
        row = self.find(item["id"])
        changed = self.cancel(row, stop_error("Terminated", item.get("reason", "")), force=True)
        return {"status": row.status, "changed": changed}

    def _resume_workflow(self, item: Json) -> Json:
        row = self.find(item["id"])
        changed = row.status == "suspended" and row.parked is not None
        if changed:
            row.parked, row.due = None, self.clock.now
            self.make_pending(row)
        return {"status": row.status, "changed": changed}

    def _retry_execution(self, item: Json) -> Json:
        reply = self._resume_workflow(item)
        row = self.find(item["id"])
        if reply["changed"]:
            return reply
        if row.status not in ("failed", "cancelled"):
            raise Fault(
                "invalid_state",
                f"execution {row.id} is {row.status}; only what failed, was cancelled or is parked"
                " can be retried",
                id=row.id,
                status=row.status,
            )
        self._next_run(row)
        return {"status": row.status, "changed": True}

    def _next_run(self, row: Row) -> None:
        """Starts what failed anew: a workflow from a copy of what went well."""
        before, error, voided = row.events, row.error, row.failed_sequence
        row.run += 1
        if before:
            rest = enumerate(kept(before, voided), 1)
            row.events.extend({**event, "position": n} for n, event in rest)
            self.append(row, "retried", payload={"error": error, "voided": voided})
        row.due, row.finished, row.cancel_requested, row.parked = self.clock.now, None, None, None
        row.result, row.error, row.failed_sequence = ABSENT, None, None
        row.failures, row.crashes, row.deadline, row.reported = 0, 0, None, True
        row.suspended_by = None
        self.make_pending(row)

    _BATCHES = frozenset(
        {
            Operation.HEARTBEAT,
            Operation.ADVANCE_WORKFLOW,
            Operation.SUSPEND_WORKFLOW,
            Operation.RECORD_STEP,
            Operation.COMPLETE_EXECUTION,
            Operation.FAIL_EXECUTION,
            Operation.RELEASE,
            Operation.RESUME_WORKFLOW,
            Operation.CANCEL_EXECUTION,
            Operation.TERMINATE_EXECUTION,
            Operation.SEND_SIGNAL,
            Operation.RETRY_EXECUTION,
        }
    )


def _claimed(row: Row) -> Json:
    """Answers an execution as a claim does, without its history."""
    reply = row.reply()
    claimed: Json = {
        name: reply[name]
        for name in (
            "id",
            "run",
            "kind",
            "name",
            "queue",
            "root_id",
            "priority",
        )
    }
    claimed |= {"lease": row.lease, "attempt": row.attempts, "position": 0}
    if row.is_workflow:
        claimed["position"] = len(row.events)
    for name in ("parent_id", "deadline_at", "progress", "version"):
        if name in reply:
            claimed[name] = reply[name]
    if row.cancel_requested is not None:
        claimed["cancel_requested"] = True
    for name in ("args", "kwargs"):
        if reply[name]:
            claimed[name] = reply[name]
    for name in ("retry", "attempt_timeout_ms"):
        if row.new.get(name):
            claimed[name] = row.new[name]
    return claimed
