"""A worker on an engine in memory."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import workflows._functions as functions
from workflows._functions import Function
from workflows._operations import Operation
from workflows._payload import loads
from workflows._registry import Registry
from workflows._worker import Worker
from workflows.testing._engine import MemoryEngine
from workflows.testing._ledger import stop_error
from workflows.testing._rows import FINAL, Row

_POLL = 0.02


class RigEngine(MemoryEngine):
    """The engine in memory for a worker on an ordinary loop: time is skipped when it is idle."""

    def __init__(self) -> None:
        super().__init__(datetime(2026, 1, 1, tzinfo=UTC))
        self.poked = asyncio.Event()
        self.keeps_calls = True
        self.changed.append(self.poked.set)

    async def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        await asyncio.sleep(0)
        reply = self.perform(operation, request)
        if operation is Operation.CLAIM:
            while request["wait_ms"] and not reply["executions"] and not reply.get("draining"):
                await self._pause(skip=True)
                reply = self.perform(operation, request)
        elif operation is Operation.PULL_EVENTS:
            while not reply["notices"]:
                await self._pause(skip=False)
                reply = self.perform(operation, request)
        return reply

    async def _pause(self, *, skip: bool) -> None:
        self.poked.clear()
        try:
            async with asyncio.timeout(_POLL):
                await self.poked.wait()
        except TimeoutError:
            due = self.agenda.next()
            runs = any(row.status in ("pending", "running") for row in self.rows.values())
            if skip and due is not None and not runs:
                self.advance_to(due.at)

    def create(self, new: dict[str, Any]) -> Row:
        row = self.add(new)
        self.poked.set()
        return row

    def stop(self, row: Row) -> None:
        """Asks an execution to stop."""
        self.cancel(row, stop_error("Cancelled", ""))
        self.poked.set()

    def steal(self, row: Row) -> None:
        """Takes the lease away, as after a worker's death."""
        self.notify(row, "lost")
        row.token = None
        self.make_pending(row)
        self.poked.set()


class Rig:
    """A worker on an engine in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine = RigEngine()
        self.registry = Registry()
        monkeypatch.setattr(functions, "registry", self.registry)
        self.workers: list[Worker] = []

    # It stands in for the library's engine and its channel.

    def channel(self) -> Any:
        return self

    async def call(self, operation: Operation, request: Any) -> Any:
        return await self.engine.call(operation, request)

    def send(self, operation: Operation, request_json: bytes) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_task(self.call(operation, loads(request_json)))

    async def signal(self, id: str, name: str, payload: Any, key: str | None) -> Any:
        request = {"items": [{"id": id, "name": name, "payload": payload, "idempotency_key": key}]}
        return (await self.call(Operation.SEND_SIGNAL, request))["results"][0]["ok"]

    async def create(self, items: list[Any]) -> list[Any]:
        return (await self.call(Operation.CREATE_EXECUTION, {"items": items}))["results"]

    # Tests use these.
    async def start(self, **options: Any) -> Worker:
        worker = Worker(functions=self.registry, **cast(Any, {"drain_timeout": 5, **options}))
        self.workers.append(worker)
        return await worker.__aenter__()

    def queue(self, function: Function[..., Any], *args: Any) -> Row:
        return self.engine.create(function.execution(args, {}))

    async def end(self, row: Row) -> Row:
        await until(lambda: row.status in FINAL)
        return row

    async def run(self, function: Function[..., Any], *args: Any, **options: Any) -> Row:
        if not self.workers:
            await self.start(**options)
        return await self.end(self.queue(function, *args))


class StandIn:
    def __init__(self, rig: Rig) -> None:
        self.engine = rig
        self.signal = rig.signal
        self.create = rig.create


async def until(condition: Callable[[], Any], within: float = 5) -> None:
    deadline = asyncio.get_running_loop().time() + within
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.001)
