"""A worker on an engine in memory."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
import workflows._functions as functions
from workflows._functions import Function
from workflows._operations import Operation
from workflows._registry import Registry
from workflows._worker import Worker

from .memory_engine import FINAL, MemoryEngine, Row


class Rig:
    """A worker on an engine in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine = MemoryEngine()
        self.registry = Registry()
        monkeypatch.setattr(functions, "registry", self.registry)
        self.workers: list[Worker] = []

    # It stands in for the library's engine and its channel.

    def channel(self) -> Any:
        return self

    async def call(self, operation: Operation, request: Any) -> Any:
        return await self.engine.call(operation, request)

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
        row = self.engine.create(function.execution(args, {}))
        self.engine.changed.set()
        return row

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
