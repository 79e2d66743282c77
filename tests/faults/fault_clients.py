"""The clients of a run: they start items, signal, cancel and wait, and journal every call."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import workflows._operations as operations
from fault_journal import Journal, now
from fault_workload import Item, Signal, Workload, agrees, answers
from workflows import Client, ExecutionFinished, ExecutionNotFound, ResultTimeout, WorkflowsError

T = TypeVar("T")

# After these nobody can know whether the call had its effect.
_UNKNOWN = {"database_unavailable", "timeout", "busy", "closed", "internal", "cancelled"}
_PAUSE = 0.1


class Caller:
    """Makes calls in the name of one client, and writes down when and how each returned."""

    def __init__(self, client: Client, directory: Path, name: str) -> None:
        self._client = client
        self._name = name
        self._journal = Journal(directory / f"client-{name}.jsonl")

    async def call(self, op: str, fields: dict[str, Any], what: Awaitable[T]) -> T:
        """Await a call; a retryable error leaves its outcome unknown."""
        began = now()
        told: dict[str, Any] = {"outcome": "unknown", "to": None, "code": None}
        try:
            value = await what
            told = {"outcome": "ok", "to": now(), "code": None, **_answer(op, value)}
            return value
        except WorkflowsError as error:
            told = _failed(error)
            raise
        finally:
            self._write(op, began, fields, told)

    def _write(self, op: str, began: int, fields: dict[str, Any], told: dict[str, Any]) -> None:
        line = {**_BLANK, "client": self._name, "op": op, "from": began, **fields, **told}
        self._journal.note("call", **line)

    async def create(self, item: Item) -> list[str]:
        """Start an item's executions in one call, which is a line for each of them."""
        new, began = item.executions(), now()
        told: list[dict[str, Any]] = [{"outcome": "unknown", "to": None, "code": None}] * len(new)
        try:
            made = await self._client.create(new)
            told = [
                {"outcome": "ok", "to": now(), "x": each["id"], "created": each["created"]}
                for each in made
            ]
            return [each["id"] for each in made]
        except WorkflowsError as error:
            told = [_failed(error)] * len(new)
            raise
        finally:
            for each, came in zip(new, told, strict=True):
                fields = {"x": item.id, "name": item.name, "kind": item.kind, "key": item.key}
                self._write("start", began, {**fields, "uid": each["args"][0]["uid"]}, came)

    async def signal(self, x: str, signal: Signal) -> None:
        fields = {"x": x, "uid": signal.uid, "name": signal.name}
        key = signal.uid if signal.keyed else None
        sent = self._client.signal(x, signal.name, signal.uid, key=key)
        await self.call("signal", {**fields, "key": key}, sent)

    async def broadcast(self, xs: Sequence[str], uid: str) -> None:
        """Send a signal that nobody waits for to many in one call, which is a line for each."""
        began = now()
        items: Any = [{"id": x, "name": "other", "payload": f"{uid}.{x}"} for x in xs]
        told: list[dict[str, Any]] = [{"outcome": "unknown", "to": None, "code": None}] * len(xs)
        try:
            channel = self._client.engine.channel()
            sent = await operations.send_signal(channel, {"items": items})
            told = [_sent(each) for each in sent["results"]]
        except WorkflowsError as error:
            told = [_failed(error)] * len(xs)
            if not error.retryable:
                raise
        finally:
            for x, came in zip(xs, told, strict=True):
                self._write("signal", began, {"x": x, "uid": f"{uid}.{x}", "name": "other"}, came)

    async def end(self, x: str, how: str) -> None:
        act = self._client.cancel if how == "cancel" else self._client.terminate
        await self.call(how, {"x": x}, act(x))

    async def result(self, x: str, patience: float) -> Any:
        return await self.call("result", {"x": x}, self._client.wait(x, patience))

    def close(self) -> None:
        self._journal.close()


_BLANK: dict[str, Any] = dict.fromkeys(
    ("x", "name", "kind", "key", "uid", "code", "created", "status", "value")
)


def _sent(result: Any) -> dict[str, Any]:
    if "ok" in result:
        return {"outcome": "ok", "to": now(), "code": None}
    error = result["error"]
    return _told(error["code"], error.get("details") or {})


def _failed(error: WorkflowsError) -> dict[str, Any]:
    return _told(error.code, error.details)


def _told(code: str, details: Mapping[str, Any]) -> dict[str, Any]:
    outcome = "unknown" if code in _UNKNOWN else "fail"
    return {"outcome": outcome, "to": now(), "code": code, "sqlstate": details.get("sqlstate")}


def _answer(op: str, value: Any) -> dict[str, Any]:
    if op == "result":
        return {"status": value["status"], "value": value.get("result")}
    if op in ("cancel", "terminate"):
        return {"status": value["status"]}
    return {}


async def insisted(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call that can be repeated until it is known how it ended."""
    while True:
        try:
            return await call()
        except WorkflowsError as error:
            if not error.retryable:
                raise
        await asyncio.sleep(_PAUSE)


class Clients:
    """Players side by side, each with one item at a time."""

    def __init__(self, client: Client, directory: Path, workload: Workload, players: int) -> None:
        self._client = client
        self._directory = directory
        self._workload = workload
        self._players = players
        self._numbers: Iterator[int] = itertools.count()
        self.counts: Counter[str] = Counter()
        # What the clients themselves saw go wrong.
        self.wrong: list[str] = []
        self.ending = False
        self.limit: int | None = None
        # Whether a failover may lose what was acknowledged last.
        self.may_lose = False

    async def play(self) -> None:
        """Play items until told to end, or until there were so many; finish those begun."""
        await asyncio.gather(*(self._player(f"c{n}") for n in range(self._players)))

    async def _player(self, name: str) -> None:
        caller = Caller(self._client, self._directory, name)
        try:
            while not self.ending:
                number = next(self._numbers)
                if self.limit is not None and number >= self.limit:
                    return
                await self._item(caller, name, self._workload.item(number))
        finally:
            caller.close()

    async def _whole(self, caller: Caller, name: str, item: Item) -> None:
        try:
            ids = await self._start(caller, name, item)
        except WorkflowsError as error:
            self.counts[f"start: {error.code}"] += 1
            if not error.retryable:
                self.wrong.append(f"the start of {item.uid} was refused: {error}")
            return
        self.counts["executions"] += len(ids)
        if len(ids) == 1:
            await asyncio.gather(
                *self._senders(name, item, ids[0]), self._end(caller, item, ids[0])
            )
            await self._result(caller, item, ids[0])

    async def _item(self, caller: Caller, name: str, item: Item) -> None:
        """Play an item; it may be gone in the middle if a failover lost it."""
        try:
            await self._whole(caller, name, item)
        except ExecutionNotFound as error:
            self.counts["gone"] += 1
            if not self.may_lose:
                self.wrong.append(f"{item.uid} was accepted, and is gone: {error}")

    async def _start(self, caller: Caller, name: str, item: Item) -> list[str]:
        """Start an item, as often as it says; without an id or a key a call is not repeated."""
        if item.copies > 1:
            return await caller.create(item)
        callers = [caller] + [
            Caller(self._client, self._directory, f"{name}t{n}") for n in range(1, item.twins)
        ]
        starts = await asyncio.gather(
            *(insisted(lambda each=each: each.create(item)) for each in callers)
        )
        ids = {id for [id] in starts}
        if len(ids) > 1:
            self.wrong.append(f"one key started several: {ids}")
        return [ids.pop()]

    def _senders(self, name: str, item: Item, x: str) -> list[Awaitable[None]]:
        numbers = sorted({signal.sender for signal in item.signals})
        return [self._send(name, n, item, x) for n in numbers]

    async def _send(self, name: str, sender: int, item: Item, x: str) -> None:
        """Send the signals of one sender, each after it is known what came of the last."""
        caller = Caller(self._client, self._directory, f"{name}s{sender}")
        try:
            for signal in item.signals:
                if signal.sender != sender:
                    continue
                if signal.keyed:
                    await insisted(lambda signal=signal: caller.signal(x, signal))
                else:
                    await self._unkeyed(caller, x, signal)
        except ExecutionFinished:
            self.counts["signals: execution_finished"] += 1
        except ExecutionNotFound:
            raise
        except WorkflowsError as error:
            self.wrong.append(f"a signal to {item.uid} was refused: {error}")
        finally:
            caller.close()

    async def _unkeyed(self, caller: Caller, x: str, signal: Signal) -> None:
        try:
            await caller.signal(x, signal)
        except WorkflowsError as error:
            if not error.retryable:
                raise

    async def _end(self, caller: Caller, item: Item, x: str) -> None:
        if item.end_ms is not None:
            await asyncio.sleep(item.end_ms / 1000)
            await insisted(lambda: caller.end(x, item.end))
            self.counts[item.end] += 1

    async def _result(self, caller: Caller, item: Item, x: str) -> None:
        """Wait for the end, however long it takes, and see whether it can be right."""
        while True:
            try:
                row = await insisted(lambda: caller.result(x, 30))
                break
            except ResultTimeout:
                self.counts["waits of half a minute"] += 1
        self.counts[row["status"]] += 1
        if problem := _problem(item, row):
            self.wrong.append(f"{x}: {problem}")


def _problem(item: Item, row: Any) -> str | None:
    status = row["status"]
    if status == "cancelled":
        return None if item.end_ms is not None else "it was cancelled, and nobody asked for it"
    if item.deed.get("how") in ("kill", "fails", "huge"):
        return None if status == "failed" else f"it must fail and is {status}"
    if status != "completed":
        return f"it is {status}: {row.get('error')}"
    value = row.get("result")
    right = (agrees if item.kind == "workflow" else answers)(item.deed, value)
    return None if right else f"its value is {value!r}"


async def within(seconds: float, done: Callable[[], Awaitable[bool]], pause: float = 0.1) -> bool:
    """Ask again and again until it is so, for so long at most."""
    deadline = time.monotonic() + seconds
    while True:
        if await done():
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(pause)
