"""The rows of the engine in memory: executions and workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ._clock import Due, text

Json = dict[str, Any]

FINAL = frozenset({"completed", "failed", "cancelled"})
Status = Literal["scheduled", "pending", "running", "suspended", "completed", "failed", "cancelled"]


class _Absent:
    """What stands where JSON has no value at all, not even null."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


class Fault(Exception):
    """A way in which an operation fails, as the library has it."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.wire: Json = {"code": code, "message": message, "retryable": False}
        if details:
            self.wire["details"] = details


@dataclass(slots=True, eq=False)
class WorkerRow:
    """A worker, one incarnation of it."""

    id: str
    request: Mapping[str, Any]
    draining: bool = False
    gone: bool = False
    notices: list[Json] = field(default_factory=list[Json])

    @property
    def warm(self) -> bool:
        """Whether it keeps suspended workflows, so that a claim may bring newer events only."""
        return bool(self.request.get("warm"))

    def serves(self, queue: str) -> bool:
        """Whether it runs what is on this queue; "*" is every queue."""
        return queue in self.request["queues"] or "*" in self.request["queues"]


@dataclass(slots=True, eq=False)
class Row:
    """An execution."""

    id: str
    new: Json
    created: int
    due: int
    parent: Row | None = None
    parent_run: int = 0
    sequence: int = 0
    close_policy: str | None = None
    status: Status = "pending"
    run: int = 1
    started: int | None = None
    finished: int | None = None
    deadline: int | None = None
    worker: WorkerRow | None = None
    epoch: int = 0
    token: str | None = None
    alone: bool = False
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    releases: int = 0
    reported: bool = False
    cancel_requested: int | None = None
    cancel_told: bool = False
    news_told: bool = False
    parked: str | None = None
    released: str | None = None
    language: str | None = None
    result: Any = ABSENT
    error: Any = None
    failed_sequence: int | None = None
    state: Any = ABSENT
    progress: Any = ABSENT
    args: list[Any] = field(default_factory=list[Any])
    kwargs: Json = field(default_factory=dict[str, Any])
    histories: dict[int, list[Json]] = field(default_factory=dict[int, "list[Json]"])
    suspended_by: tuple[WorkerRow, str, int] | None = None
    """Who suspended it last, under which token, at which position: for a warm claim."""
    timers: dict[int, Due] = field(default_factory=dict[int, Due])
    waiting: list[Due] = field(default_factory=list[Due])
    """Promotion and deadlines."""
    keys: set[str] = field(default_factory=set[str])
    children: list[Row] = field(default_factory=list["Row"])
    claims: dict[int, Json] = field(default_factory=dict[int, Json])
    """What the code was last started from, by run."""
    sent: dict[int, dict[tuple[int, str], Json]] = field(
        default_factory=dict[int, "dict[tuple[int, str], Json]"]
    )
    """The commands that were taken, by run, sequence and type."""
    outcomes: dict[int, Json] = field(default_factory=dict[int, Json])
    """How the code of a run ended, as it said it."""

    @property
    def kind(self) -> str:
        """Job, activity or workflow."""
        return self.new["kind"]

    @property
    def name(self) -> str:
        """The function's."""
        return self.new["name"]

    @property
    def queue(self) -> str:
        """Whose workers run it."""
        return self.new.get("queue") or "default"

    @property
    def priority(self) -> int:
        """The higher, the sooner."""
        priority = self.new.get("priority")
        return 5 if priority is None else priority

    @property
    def is_workflow(self) -> bool:
        """Whether it has a history."""
        return self.new["kind"] == "workflow"

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.status not in FINAL

    @property
    def root(self) -> Row:
        """The first of the line."""
        row = self
        while row.parent is not None:
            row = row.parent
        return row

    @property
    def events(self) -> list[Json]:
        """The history of the present run."""
        return self.histories.setdefault(self.run, [])

    @property
    def lease(self) -> Json:
        """Under which it is held."""
        return {"epoch": self.epoch, "token": self.token}

    def bears(self, lease: Mapping[str, Any]) -> bool:
        """Whether this lease was the last one."""
        return self.token is not None and self.lease == lease

    def reply(self) -> Json:
        """Answers the execution as `get_execution` does."""
        found: Json = {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "queue": self.queue,
            "status": self.status,
            "priority": self.priority,
            "run": self.run,
            "root_id": self.root.id,
            "attempts": self.attempts,
            "failures": self.failures,
            "crashes": self.crashes,
            "releases": self.releases,
            "history_length": len(self.events),
            "created_at": text(self.created),
            "run_at": text(self.due),
            "args": self.args,
            "kwargs": self.kwargs,
        }
        if self.parent is not None:
            found |= {"parent_id": self.parent.id, "sequence": self.sequence}
        found |= {
            name: value
            for name, value in (
                ("idempotency_key", self.new.get("idempotency_key")),
                ("version", self.new.get("version")),
                ("language", self.language),
                ("parked", self.parked),
                ("error", self.error),
                ("worker", self.worker and self.worker.id),
                ("cancel_requested_at", self.cancel_requested and text(self.cancel_requested)),
                ("started_at", self.started and text(self.started)),
                ("finished_at", self.finished and text(self.finished)),
                ("deadline_at", self.deadline and text(self.deadline)),
            )
            if value is not None
        }
        for name, value in (
            ("result", self.result),
            ("progress", self.progress),
            ("state", self.state),
        ):
            if value is not ABSENT:
                found[name] = value
        return found
