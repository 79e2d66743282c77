"""Two worlds with the same rules: the library on PostgreSQL, and the engine in memory."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from workflows._engine import Engine
from workflows._errors import WorkflowsError
from workflows._operations import Operation
from workflows.testing._engine import MemoryEngine

Json = dict[str, Any]

_PATIENCE = 30.0
_TOLD = ("kind", "name", "status", "run", "priority", "attempts", "failures", "crashes", "releases")


class Below(Protocol):
    """What carries out operations."""

    async def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        """Performs an operation."""
        ...

    async def pause(self) -> None:
        """Lets some time go by, because something is not there yet."""
        ...


class Memory:
    """The engine in memory. Time goes to what is due next."""

    def __init__(self, max_history: int = 50_000) -> None:
        self.engine = MemoryEngine(datetime(2026, 1, 1, tzinfo=UTC))
        self.engine.max_history = max_history

    async def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        return self.engine.perform(operation, request)

    async def pause(self) -> None:
        due = self.engine.agenda.next()
        assert due is not None, "nothing is due"
        self.engine.advance_to(due.at)


class Library:
    """The library on PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._began = time.monotonic()

    async def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        return await self.engine.channel().call(operation, request)

    async def pause(self) -> None:
        assert time.monotonic() < self._began + _PATIENCE, "it did not come true in time"
        await asyncio.sleep(0.01)


class World:
    """What a scenario does, in either of them, and what came of it."""

    def __init__(self, below: Below) -> None:
        self.below = below
        self.queue = f"contract-{uuid.uuid4()}"
        self.names: dict[str, str] = {}
        self.worker_id = ""

    async def call(self, operation: Operation, **request: Any) -> Any:
        return await self.below.call(operation, request)

    async def each(self, operation: Operation, *items: Json) -> list[Json]:
        """Performs a batch, and answers each item's "ok", or the code of its error."""
        results = (await self.call(operation, items=list(items)))["results"]
        return [r["ok"] if "ok" in r else {"code": r["error"]["code"]} for r in results]

    async def one(self, operation: Operation, **item: Any) -> Json:
        return (await self.each(operation, item))[0]

    # --- what a scenario does ---

    async def worker(self, *queues: str, language: str = "python", **options: Any) -> str:
        reply = await self.call(
            Operation.START_WORKER,
            queues=[self.queue, *queues],
            concurrency=100,
            language=language,
            poll_interval_ms=50,
            **options,
        )
        return reply["worker_id"]

    async def create(self, kind: str, name: str, **new: Any) -> str:
        return (await self.created(kind, name, **new))["id"]

    async def created(self, kind: str, name: str, **new: Any) -> Json:
        item = {"kind": kind, "name": name, "queue": self.queue, **new}
        [created] = (await self.call(Operation.CREATE_EXECUTION, items=[item]))["results"]
        self.names.setdefault(created["id"], f"#{len(self.names) + 1}")
        return created

    async def claims(self, n: int = 1, worker: str | None = None) -> list[Json]:
        """Claims n executions, one after another, however long they take to come."""
        claimed: list[Json] = []
        while len(claimed) < n:
            found = await self.claim_now(n - len(claimed), worker)
            claimed += found
            if not found:
                await self.below.pause()
        return claimed

    async def claim(self, worker: str | None = None) -> Json:
        return (await self.claims(1, worker))[0]

    async def claim_now(self, n: int = 1, worker: str | None = None) -> list[Json]:
        """Claims what is there at this moment."""
        if worker is None:
            self.worker_id = self.worker_id or await self.worker()
            worker = self.worker_id
        reply = await self.call(Operation.CLAIM, worker_id=worker, n=n)
        for claimed in reply["executions"]:
            self.names.setdefault(claimed["id"], f"#{len(self.names) + 1}")
        return reply["executions"]

    async def advance(self, held: Json, then: str, *commands: Json, **fields: Any) -> Json:
        """Advances a workflow from where its holder stands, and moves the holder on."""
        item = {
            "id": held["id"],
            "lease": held["lease"],
            "position": held["position"],
            "then": then,
            "commands": list(commands),
            **fields,
        }
        answer = await self.one(Operation.ADVANCE_WORKFLOW, **item)
        held["position"] = answer.get("position", held["position"])
        return answer

    async def complete(self, held: Json, result: Any = None) -> Json:
        return await self.one(
            Operation.COMPLETE_EXECUTION, id=held["id"], lease=held["lease"], result=result
        )

    async def fail(self, held: Json, type: str = "ValueError", **error: Any) -> Json:
        told = {"type": type, "message": "no", **error}
        return await self.one(
            Operation.FAIL_EXECUTION, id=held["id"], lease=held["lease"], error=told
        )

    async def signal(self, id: str, name: str, payload: Any = None, **more: Any) -> Json:
        return await self.one(Operation.SEND_SIGNAL, id=id, name=name, payload=payload, **more)

    async def cancel(self, id: str) -> Json:
        return await self.one(Operation.CANCEL_EXECUTION, id=id)

    async def get(self, id: str) -> Json:
        return await self.call(Operation.GET_EXECUTION, id=id)

    async def until(self, id: str, condition: Callable[[Json], bool]) -> Json:
        """Waits until an execution is as it should be."""
        while not condition(found := await self.get(id)):
            await self.below.pause()
        return found

    async def ended(self, id: str) -> Json:
        return await self.until(
            id, lambda found: found["status"] in ("completed", "failed", "cancelled")
        )

    async def notices(self) -> list[Json]:
        """Waits for what the worker is told."""
        while True:
            reply = await self.call(Operation.PULL_EVENTS, worker_id=self.worker_id)
            if reply["notices"]:
                return reply["notices"]
            await self.below.pause()

    async def refused(self, operation: Operation, **request: Any) -> str:
        try:
            await self.call(operation, **request)
        except WorkflowsError as error:
            return error.code
        return "it was taken"

    # --- what came of it ---

    async def story(self) -> list[Json]:
        """Answers everything that can be seen of all executions, without ids and times."""
        told: list[Json] = []
        for id in list(self.names):
            found = await self.get(id)
            entry: Json = {field: found.get(field) for field in _TOLD}
            for field in ("result", "error", "state", "progress", "sequence", "parked", "args"):
                entry[field] = self._plain(found.get(field))
            entry["parent"] = self.names.get(found.get("parent_id", ""))
            entry["root"] = self.names.get(found["root_id"])
            entry["asked"] = "cancel_requested_at" in found
            entry["runs"] = [await self._events(id, run + 1) for run in range(found["run"])]
            told.append(entry)
        return told

    async def _events(self, id: str, run: int) -> list[Json]:
        reply = await self.call(Operation.GET_HISTORY, id=id, run=run)
        return [self.event(event) for event in reply["events"]]

    def event(self, event: Json) -> Json:
        told = {name: value for name, value in event.items() if name != "at"}
        if event["type"] == "started":
            told["payload"] = event["payload"]["language"]
        return self._plain(told)

    def events(self, events: Sequence[Json]) -> list[Json]:
        return [self.event(event) for event in events]

    def _plain(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._plain(each) for name, each in value.items()}  # pyright: ignore
        if isinstance(value, list):
            return [self._plain(each) for each in value]  # pyright: ignore
        if isinstance(value, str) and value in self.names:
            return self.names[value]
        return "an id" if isinstance(value, str) and _is_id(value) else value


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


Scenario = Callable[[World], Awaitable[Any]]

SCENARIOS: list[Scenario] = []
BOUNDS: dict[str, int] = {}


def scenario(function: Scenario) -> Scenario:
    """Marks a scenario."""
    SCENARIOS.append(function)
    return function


def bounded(events: int) -> Callable[[Scenario], Scenario]:
    """Marks a scenario in which histories have so many events at most."""

    def mark(function: Scenario) -> Scenario:
        BOUNDS[function.__name__] = events
        return scenario(function)

    return mark


def schedule(sequence: int, name: str, kind: str = "activity", **more: Any) -> Json:
    """A command that starts something."""
    policy = {"close_policy": more.pop("close_policy")} if "close_policy" in more else {}
    execution = {"kind": kind, "name": name, **more}
    return {"type": "schedule", "sequence": sequence, "execution": execution, **policy}


def timer(sequence: int, delay_ms: int, name: str = "sleep") -> Json:
    """A command that starts a timer."""
    return {"type": "start_timer", "sequence": sequence, "name": name, "delay_ms": delay_ms}


def stop(sequence: int) -> Json:
    """A command that cancels."""
    return {"type": "cancel", "sequence": sequence}
