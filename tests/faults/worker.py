"""A worker of the rig: `worker.py QUEUE...`; worker.ts is its twin, and does the same.

What bodies do is written to a journal outside the database, with the lease that they ran under.
Workflows interpret a list of deeds, of plain JSON, that came with their start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import workflows._attempts as attempts
import workflows._loop as loops
from fault_journal import Journal, now
from workflows import (
    ActivityCancelled,
    ActivityError,
    ChildCancelled,
    ChildError,
    Function,
    StepError,
    Worker,
    WorkflowsError,
    activity,
    client,
    configure,
    gather,
    is_replaying,
    job,
    race,
    sleep,
    step,
    wait_for_signal,
    workflow,
)
from workflows._registry import Registry

Deed = dict[str, Any]

QUEUES = {"python": "python", "node": "node"}

_NAME = os.environ["FAULTS_WORKER"]
_journal = Journal(Path(os.environ["FAULTS_RUN"], f"worker-{_NAME}.jsonl"))
_calls = Journal(Path(os.environ["FAULTS_RUN"], f"client-of-{_NAME}.jsonl"))


class Wanted(Exception):
    """A failure on purpose."""


# --- bodies -------------------------------------------------------------------------------


def _facts(sequence: int | None = None, name: str | None = None) -> dict[str, Any]:
    attempt = attempts._current.get()  # pyright: ignore[reportPrivateUsage]  # the lease is told to nobody
    assert attempt is not None
    claimed = attempt.claimed
    return {
        "x": claimed["id"],
        "seq": sequence,
        "step": name,
        "attempt": claimed["attempt"],
        "epoch": claimed["lease"]["epoch"],
        "token": claimed["lease"]["token"],
        "pid": os.getpid(),
        "lang": "python",
        "nonce": os.urandom(16).hex(),
    }


def _answer(deed: Deed, facts: dict[str, Any]) -> dict[str, str]:
    """Answer something that no other body answers, not even one of the same command."""
    return {"uid": deed["uid"], "nonce": facts["nonce"]}


_MB = 1_000_000


async def _body(deed: Deed, facts: dict[str, Any]) -> Any:
    """Do what a body is told to, between a line at its begin and one at its end."""
    _journal.note("begin", **facts, at=now())
    ok = False
    try:
        if how := deed.get("how"):
            await _harm(how, deed, facts)
        if ms := deed.get("ms", 0):
            await asyncio.sleep(ms / 1000)
        if facts["attempt"] <= deed.get("fails", 0):
            raise Wanted(deed["uid"])
        ok = True
    except asyncio.CancelledError:
        if attempts.cancelled():
            _journal.note("late", x=facts["x"], code="interrupted", at=now())
        raise
    finally:
        _journal.note("end", **facts, ok=ok, at=now())
    return _answer(deed, facts)


async def _harm(how: str, deed: Deed, facts: dict[str, Any]) -> None:
    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "block":
            time.sleep(deed["block_ms"] / 1000)  # noqa: ASYNC251  # what the scenario is about
        case "uses":
            await asyncio.gather(*(client().get(attempts.attempt_info().id) for _ in range(5)))
            await fault_job.options(idempotency_key=deed["uid"]).queue({"uid": f"{deed['uid']}.of"})
        case "starts":
            mark = f"{facts['epoch']}.{facts['pid']}"
            await asyncio.gather(*(_start(flow, mark) for flow in deed["flows"]))
        case "huge":
            raise Wanted("x" * 10 * _MB)
        case _:
            raise Wanted(how)


async def _start(flow: Deed, mark: str) -> None:
    """Start a workflow that this process runs, and journal that it was acknowledged."""
    uid, began = f"{flow['uid']}.{mark}", now()
    deeds = [{**deed, "uid": f"{deed['uid']}.{mark}"} for deed in flow["deeds"]]
    handle = await python_flow.queue({"uid": uid, "deeds": deeds})
    call = {"op": "start", "x": handle.id, "uid": uid, "created": True, "outcome": "ok"}
    _calls.note("call", client=f"of-{_NAME}", **call, **{"from": began}, to=now())


async def _job(deed: Deed) -> Any:
    return await _body(deed, _facts())


_QUICK: Any = {"initial": 0.05, "max": 0.2, "retries": 50}

fault_job = job(name="fault.job", **_QUICK)(_job)
fault_doomed = job(name="fault.doomed", retries=1, initial=0.05, max=0.1)(_job)
fault_python = activity(name="fault.python", queue="python", **_QUICK)(_job)


@activity(name="fault.thread", queue="python", **_QUICK)
def fault_thread(deed: Deed) -> Any:
    """Do the same in a thread of its own, which sleeps."""
    facts = _facts()
    _journal.note("begin", **facts, at=now())
    time.sleep(deed["ms"] / 1000)
    _journal.note("end", **facts, ok=True, at=now())
    return _answer(deed, facts)


@activity(name="fault.node", queue="node", external=True, **_QUICK)
async def fault_node(deed: Deed) -> Any: ...


@step(name="fault.step", initial=0.05, max=0.2, retries=50)
async def fault_step(deed: Deed, sequence: int) -> Any:
    return await _body(deed, _facts(sequence, deed["uid"]))


# --- workflows ----------------------------------------------------------------------------


@workflow(name="fault.python_flow", queue="python")
async def python_flow(spec: Deed) -> list[Any]:
    """Do one deed after the other, and answer what came of each."""
    return [await _do(deed) for deed in spec["deeds"]]


@workflow(name="fault.node_flow", queue="node", external=True)
async def node_flow(spec: Deed) -> list[Any]: ...


_ACTIVITIES: dict[str, Function[[Deed], Any]] = {"python": fault_python, "node": fault_node}
_FLOWS: dict[str, Function[[Deed], list[Any]]] = {"python": python_flow, "node": node_flow}


def _holder() -> dict[str, Any]:
    """Answer the lease under which workflow code runs, which is told to nobody."""
    replay = loops.active()
    assert replay is not None
    lease = replay.claimed["lease"]
    return {"x": replay.claimed["id"], "epoch": lease["epoch"], "token": lease["token"]}


def _next_sequence() -> int:
    replay = loops.active()
    assert replay is not None
    return replay.history.next_sequence()


async def _outcome(sequence: int, call: Awaitable[Any]) -> Any:
    """Answer what comes of a command, and journal what was seen of it: on each replay anew."""
    try:
        value = await call
    except (StepError, ActivityError, ChildError) as error:
        if not isinstance(error, ActivityCancelled | ChildCancelled):
            _saw(sequence, [], ok=False)
        raise
    _saw(sequence, _nonces(value), ok=True)
    return value


def _saw(sequence: int, nonces: list[str], *, ok: bool) -> None:
    replay = loops.active()
    assert replay is not None
    facts = {**_holder(), "run": replay.claimed["run"], "seq": sequence}
    _journal.note("saw", **facts, nonces=nonces, ok=ok, at=now())


def _nonces(value: Any) -> list[str]:
    """Answer those of a body, or of all that a child has seen."""
    match value:
        case {"nonce": str(nonce)}:
            return [nonce]
        case [*values]:
            return [nonce for each in values for nonce in _nonces(each)]
        case _:
            return []


async def _step(deed: Deed) -> Any:
    sequence = _next_sequence()
    return await _outcome(sequence, fault_step.run(deed, sequence))


async def _call(deed: Deed) -> Any:
    return await _outcome(_next_sequence(), _ACTIVITIES[deed["lang"]].run(deed))


async def _child(deed: Deed) -> Any:
    return await _outcome(_next_sequence(), _FLOWS[deed["lang"]].run(deed))


async def _sleep(deed: Deed) -> str:
    await sleep(deed["ms"] / 1000)
    return "slept"


async def _take(deed: Deed) -> list[str]:
    taken: list[str] = []
    for _ in range(deed["count"]):
        uid = await wait_for_signal(deed["name"])
        taken.append(uid)
        if not is_replaying():
            facts = {**_holder(), "signal": deed["name"], "uid": uid}
            _journal.note("took", **facts, at=now(), replaying=False)
    return taken


async def _all(deed: Deed) -> list[Any]:
    return list(await gather(*(_do(each) for each in deed["deeds"])))


async def _first(deed: Deed) -> str:
    facts = {**_holder(), "seq": _next_sequence()}
    name, _ = await race(sleep=sleep(deed["ms"] / 1000), call=_do(deed["deeds"][0]))
    _journal.note("chose", **facts, winner=name, at=now())  # on each replay anew
    return name


_DO: dict[str, Callable[[Deed], Awaitable[Any]]] = {
    "step": _step,
    "call": _call,
    "child": _child,
    "sleep": _sleep,
    "take": _take,
    "all": _all,
    "first": _first,
}


async def _do(deed: Deed) -> Any:
    return await _DO[deed["do"]](deed)


# --- the process --------------------------------------------------------------------------


def _present() -> Registry:
    """Answer what this worker has: one of yesterday's lacks some functions."""
    lacking, present = os.environ.get("FAULTS_LACKS", "").split(), Registry()
    for function in (fault_job, fault_doomed, fault_python, fault_thread, python_flow):
        if function.name not in lacking:
            present.add(function)
    return present


async def main() -> None:
    if size := os.environ.get("FAULTS_POOL"):
        configure(pool_size=int(size))
    await Worker(sys.argv[1:], name=_NAME, functions=_present(), drain_timeout=5).run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        asyncio.run(main())
    except WorkflowsError as error:  # such as a schema of another version
        sys.exit(f"error: {error}")
