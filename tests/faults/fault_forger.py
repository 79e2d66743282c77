"""The forger: a worker of the rig that keeps to no protocol.

Those of the fleet are honest: none of them writes under a lease that it never had, and few
writes of theirs come in the moment in which something else does. The forger does on purpose
what a lost commit, a pause or a bad program brings about once in a long while. It journals
what it was told, and the checker compares that with what became of its leases.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import workflows._operations as operations
from fault_clients import Caller
from fault_journal import Journal, now
from fault_server import SCHEMA
from fault_workload import Item, Signal
from workflows import Client, WorkflowsError

if TYPE_CHECKING:
    from fault_world import World

Json = dict[str, Any]

_DATABASE = "faults"
# The checker takes what is closer than a quarter of a second for simultaneous.
_APART = 0.3
_ERROR = {"type": "Forged", "message": "on purpose", "non_retryable": True}


class Forger:
    """One worker, with a queue of its own, on either of two engines; and who asks for its work."""

    def __init__(self, world: World, name: str, engines: tuple[Client, Client]) -> None:
        self._world = world
        self._name = name
        # The worker's, and another, which learns of nothing but by the database.
        self.mine, self.other = (client.engine.channel() for client in engines)
        self.caller = Caller(engines[1], world.directory, f"forger-{name}")
        self._journal = Journal(world.directory / f"worker-forger-{name}.jsonl")
        self._numbers = itertools.count()
        self._workers: list[tuple[Any, str]] = []
        self.counts = {"accepted": 0, "refused": 0}

    @property
    def queue(self) -> str:
        return f"forged.{self._name}"

    def rounds(self) -> Iterator[int]:
        """Count rounds for as long as the faults last."""
        deadline = time.monotonic() + self._world.duration
        return itertools.takewhile(lambda _: time.monotonic() < deadline, itertools.count())

    async def query(self, query: str) -> None:
        await asyncio.to_thread(self._world.server.query, query, _DATABASE)

    async def create(self, kind: str = "job") -> str:
        """Start one, and answer its id."""
        uid = f"{self.queue}.{next(self._numbers)}"
        item = Item(uid, kind, f"forged.{kind}", self.queue, {"uid": uid}, id=str(uuid.uuid4()))
        [x] = await self.caller.create(item)
        return x

    async def worker(self, channel: Any, **more: Any) -> str:
        """Register a worker."""
        request: Any = {
            "queues": [self.queue],
            "name": self.queue,
            "language": "python",
            "heartbeat_timeout_ms": 2000,
            "poll_interval_ms": 100,
            **more,
        }
        started = await operations.start_worker(channel, request)
        self._workers.append((channel, started["worker_id"]))
        return started["worker_id"]

    async def claim(self, channel: Any, worker: str, x: str) -> Any:
        """Have a worker claim one execution, which is the only one of its queue."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            request: Any = {"worker_id": worker, "n": 1, "wait_ms": 1000}
            for claimed in (await operations.claim(channel, request))["executions"]:
                if claimed["id"] == x:
                    return claimed
                await self.settle(claimed)  # a forged write has left it behind
        raise TimeoutError(f"{x} was not claimed")

    async def begun(self, worker: str, kind: str = "job") -> Any:
        return await self.claim(self.mine, worker, await self.create(kind))

    async def write(self, what: str, claimed: Any, **more: Any) -> Json:
        """Write something under a lease, and journal what is answered."""
        lease, channel = more.pop("lease", claimed["lease"]), more.pop("channel", self.mine)
        item: Json = {"id": claimed["id"], "lease": lease, "position": claimed["position"], **more}
        began = now()
        line: Json = {"outcome": "unknown", "to": None, "code": None}
        try:
            [result] = (await _WRITES[what](channel, item))["results"]
            line = _told(result)
            return result
        except WorkflowsError as error:
            line = {"outcome": "unknown", "to": now(), "code": error.code}
            raise
        finally:
            if line["outcome"] != "unknown":
                self.counts["accepted" if line["outcome"] == "ok" else "refused"] += 1
            fields = {"x": claimed["id"], **lease, "position": item["position"], "from": began}
            self._journal.note("write", what=what, seq=more.get("sequence"), **fields, **line)

    async def settle(self, claimed: Any) -> None:
        """End one, whatever has become of it."""
        if "error" in await self.write("complete", claimed):
            with contextlib.suppress(WorkflowsError):
                await self.caller.end(claimed["id"], "terminate")

    async def leave(self) -> None:
        """Give everything back, and end the workers."""
        for channel, worker in self._workers:
            with contextlib.suppress(WorkflowsError):
                await operations.stop_worker(channel, {"worker_id": worker})
        self.caller.close()
        self._journal.close()


def _told(result: Json) -> Json:
    if "error" in result:
        return {"outcome": "fail", "to": now(), "code": result["error"]["code"]}
    ok = result["ok"]
    told = {"status": ok["status"], "answered": ok.get("position", 0)}
    return {"outcome": "ok", "to": now(), "code": None, **told}


async def _complete(channel: Any, item: Json) -> Any:
    return await operations.complete_execution(channel, {"items": [{"result": "own", **item}]})  # type: ignore[list-item]


async def _fail(channel: Any, item: Json) -> Any:
    return await operations.fail_execution(channel, {"items": [{"error": _ERROR, **item}]})  # type: ignore[list-item]


async def _release(channel: Any, item: Json) -> Any:
    given: Any = {"id": item["id"], "lease": item["lease"], "reason": "drain"}
    return await operations.release(channel, {"items": [given]})


async def _suspend(channel: Any, item: Json) -> Any:
    given: Any = {**item, "then": "suspend"}
    return await operations.advance_workflow(channel, {"items": [given]})


async def _step(channel: Any, item: Json) -> Any:
    sequence = item.pop("sequence")
    event = {"type": "step_completed", "sequence": sequence, "name": "forged.step", "payload": 1}
    given: Any = {**item, "then": "keep", "events": [event]}
    return await operations.advance_workflow(channel, {"items": [given]})


async def _timer(channel: Any, item: Json) -> Any:
    command = {"type": "start_timer", "sequence": item.pop("sequence"), "delay_ms": 60_000}
    given: Any = {**item, "then": "keep", "commands": [command]}
    return await operations.advance_workflow(channel, {"items": [given]})


async def _continue(channel: Any, item: Json) -> Any:
    given: Any = {**item, "then": "continue"}
    return await operations.advance_workflow(channel, {"items": [given]})


_WRITES: dict[str, Callable[[Any, Json], Awaitable[Any]]] = {
    "step": _step,
    "timer": _timer,
    "suspend": _suspend,
    "continue": _continue,
    "release": _release,
    "fail": _fail,
    "complete": _complete,
}
_OF_A_JOB = ("release", "fail", "complete")


# --- what it does ---------------------------------------------------------------------------


async def _other_leases(forger: Forger) -> None:
    """Write under leases that are off by one part."""
    worker = await forger.worker(forger.mine)
    for n in forger.rounds():
        kind = ("job", "workflow")[n % 2]
        claimed = await forger.begun(worker, kind)
        for what in _WRITES if kind == "workflow" else _OF_A_JOB:
            more: Json = {"sequence": 1} if what in ("step", "timer") else {}
            for lease in _bent(claimed["lease"]):
                await forger.write(what, claimed, lease=lease, **more)
        await forger.settle(claimed)


def _bent(lease: Json) -> list[Json]:
    epoch, token = lease["epoch"], lease["token"]
    return [
        {"epoch": epoch - 1, "token": token},
        {"epoch": epoch + 1, "token": token},
        {"epoch": epoch, "token": str(uuid.uuid4())},
        {"epoch": epoch + 1, "token": str(uuid.uuid4())},
    ]


async def _lost_leases(forger: Forger) -> None:
    """Write under a lease that somebody else has had since."""
    worker, heir = await forger.worker(forger.mine), await forger.worker(forger.other)
    for n in forger.rounds():
        kind = ("job", "workflow")[n % 2]
        claimed = await forger.begun(worker, kind)
        await forger.write("release", claimed)
        again = await forger.claim(forger.other, heir, claimed["id"])
        await asyncio.sleep(_APART)
        for what in ("step", "suspend", *_OF_A_JOB) if kind == "workflow" else _OF_A_JOB:
            await forger.write(what, claimed, **({"sequence": 1} if what == "step" else {}))
        await forger.write("complete", again, channel=forger.other)


async def _repeats(forger: Forger) -> None:
    """Say an outcome again, which is accepted, and then another, which is not."""
    worker = await forger.worker(forger.mine)
    outcomes = itertools.cycle(("complete", "fail"))
    for n in forger.rounds():
        claimed = await forger.begun(worker, ("job", "workflow")[n // 2 % 2])
        said, other = next(outcomes), ("fail", "complete")[n % 2]
        await forger.write(said, claimed)
        await asyncio.sleep(_APART)
        await forger.write(said, claimed)
        await forger.write(other, claimed)
        with contextlib.suppress(WorkflowsError):
            await forger.write("complete", claimed, result="another")


async def _overtaken(forger: Forger) -> None:
    """Write as who has not seen yet what somebody else has just been told is there."""
    worker = await forger.worker(forger.mine)
    for n in forger.rounds():
        claimed = await forger.begun(worker, "workflow")
        signal = Signal(1, "go", f"{claimed['id']}.go", keyed=True)
        await forger.caller.signal(claimed["id"], signal)
        more: Json = {"sequence": 1} if n % 2 else {}
        result = await forger.write("step" if n % 2 else "suspend", claimed, **more)
        if result.get("ok", {}).get("status") == "running":
            claimed["position"] = result["ok"]["position"]
            await forger.write("complete", claimed)
        else:
            await forger.caller.end(claimed["id"], "terminate")


async def _cancelled(forger: Forger) -> None:
    """Report an outcome of what was asked to stop meanwhile: it ends as cancelled."""
    worker = await forger.worker(forger.mine)
    for n in forger.rounds():
        claimed = await forger.begun(worker)
        await forger.caller.end(claimed["id"], "cancel")
        await forger.write(("complete", "fail")[n % 2], claimed)


async def _sent_again(forger: Forger) -> None:
    """Send signals again whose acknowledgement was lost, as it were: each is there once."""
    worker = await forger.worker(forger.mine)
    for _ in forger.rounds():
        claimed = await forger.begun(worker, "workflow")
        signals = [Signal(1, "go", f"{claimed['id']}.{n}", keyed=True) for n in range(3)]
        for signal in signals:
            await forger.caller.signal(claimed["id"], signal)
            await forger.caller.signal(claimed["id"], signal)
        claimed["position"] += len(signals)
        await forger.write("complete", claimed)


async def _left_behind(forger: Forger) -> None:
    """Leave a row as a worker would that stops and forgets it, such as one of an older library."""
    worker = await forger.worker(forger.mine)
    for _ in forger.rounds():
        gone = await forger.worker(forger.other)
        await operations.stop_worker(forger.other, {"worker_id": gone})
        x = await forger.create()
        await forger.query(
            f"UPDATE {SCHEMA}.executions SET status = 'running', worker = '{gone}', epoch = 1,"
            f" token = gen_random_uuid(), attempts = 1 WHERE id = '{x}' AND status = 'pending'"
        )
        await forger.write("complete", await forger.claim(forger.mine, worker, x))


async def _late_beats(forger: Forger) -> None:
    """Keep a beat waiting until the worker counts as silent, and its burial waits behind it."""
    more = {"heartbeat_timeout_ms": 1000, "heartbeat_interval_ms": 500}
    worker, _ = await forger.worker(forger.mine, **more), await forger.worker(forger.other)
    for _ in forger.rounds():
        claimed = await forger.begun(worker)
        its = f"id = (SELECT worker FROM {SCHEMA}.executions WHERE id = '{claimed['id']}')"
        for _ in range(2):
            age = "extract(epoch FROM clock_timestamp() - heartbeat_at)"
            await forger.query(
                f"SELECT FROM {SCHEMA}.workers WHERE {its} FOR UPDATE;"
                f" SELECT pg_sleep(greatest(0, 1.4 - {age})) FROM {SCHEMA}.workers WHERE {its}"
            )
        while "error" in await forger.write("complete", claimed):  # silent in earnest
            claimed = await forger.claim(forger.mine, worker, claimed["id"])


_STORIES = (
    _other_leases,
    _lost_leases,
    _repeats,
    _overtaken,
    _cancelled,
    _sent_again,
    _left_behind,
    _late_beats,
)


async def forge(world: World) -> None:
    """Do all of it at once, for as long as the faults last."""
    url = world.server.url(_DATABASE)
    async with (
        Client(url, schema=SCHEMA, pool_size=5) as mine,
        Client(url, schema=SCHEMA, pool_size=6) as other,
    ):
        forgers = [Forger(world, story.__name__.strip("_"), (mine, other)) for story in _STORIES]
        try:
            await asyncio.gather(*map(_told_of, itertools.repeat(world), _STORIES, forgers))
        finally:
            await asyncio.gather(*(forger.leave() for forger in forgers))
    for what in ("accepted", "refused"):
        world.figures[f"forger_{what}"] = sum(forger.counts[what] for forger in forgers)


async def _told_of(
    world: World, story: Callable[[Forger], Awaitable[None]], forger: Forger
) -> None:
    """Play a story; what ends it before its time is wrong."""
    try:
        await story(forger)
    except (WorkflowsError, TimeoutError) as error:
        world.wrong.append(f"the forger was told: {error}")
