"""The durable functions: one workflow that interprets programs, and what programs call.

program_functions.ts is their twin: what a program does is the same in both languages, and
either calls what is of the other by the same names, on the other's queue.

What bodies do is noted in the journal of crash_journal, outside the database.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import workflows
from crash_journal import note
from program_generator import Node
from workflows import (
    Options,
    SignalTimeout,
    activity,
    as_completed,
    attempt_info,
    client,
    gather,
    get_version,
    heartbeat,
    last_heartbeat,
    now,
    race,
    random,
    send_signal,
    set_state,
    shield,
    sleep,
    step,
    timeout,
    uuid4,
    wait,
    wait_for_signal,
    workflow,
    workflow_info,
)

ENDLESS = 3600.0


class ProgramError(Exception):
    """What fails on purpose raises this."""


class Refused(Exception):
    """The same, and it is never tried again."""


# --- bodies -------------------------------------------------------------------------------


def label(node: Node) -> str:
    """Answer what an activity or a step is called in the journal, and answers when all is well."""
    return f"{node['do'][0]}{node['n']}"


def _begin(node: Node) -> tuple[str, int]:
    """Note that a body begins; answer its execution and which attempt at it this is."""
    info = attempt_info()
    id, number = info.id, info.attempt
    if node["do"] == "step":  # its workflow's attempts are none of its own
        _tries[id, node["n"]] += 1
        number = _tries[id, node["n"]]
    note("began", label(node), id=id, attempt=number, now=time.time(), lang="python")
    return id, number


_tries: Counter[tuple[str, int]] = Counter()


def _end(node: Node, id: str, number: int) -> str:
    """Note that a body ends, and end it as the node says."""
    name, how = label(node), node["how"]
    note("ended", name, id=id, attempt=number, now=time.time(), lang="python")
    if how == "fails" or (how == "flaky" and number <= node["times"]):
        raise ProgramError(name)
    if how == "refuses":
        raise Refused(name)
    return name


async def _deed(node: Node) -> str:
    id, number = _begin(node)
    match node["how"]:
        case "slow":
            await asyncio.sleep(node["ms"] / 1000)
        case "beats":
            await _beat(node)
        case "stuck" | "endless":
            await asyncio.sleep(ENDLESS)
        case "gone":
            await client().cancel(id)
            await asyncio.sleep(ENDLESS)
        case "sends":
            for index in range(node["count"]):
                payload = f"{node['signal']}.{index}"
                await client().signal(node["to"], f"signal {node['signal']}", payload, key=payload)
        case _:
            pass
    return _end(node, id, number)


async def _beat(node: Node) -> None:
    done = (last_heartbeat() or {"done": 0})["done"]
    while done < 4:
        await asyncio.sleep(node["ms"] / 4000)
        done += 1
        heartbeat({"done": done})


def _deed_in_thread(node: Node) -> str:
    id, number = _begin(node)
    time.sleep(0.02)
    return _end(node, id, number)


def _quick(name: str) -> Options:
    return {"name": name, "initial": 0.02, "max": 0.1, "non_retryable": [Refused]}


in_loop = activity(**_quick("program.activity"))(_deed)
in_thread = activity(**_quick("program.thread"))(_deed_in_thread)
step_in_loop = step(**_quick("program.step"))(_deed)
step_in_thread = step(**_quick("program.step_in_thread"))(_deed_in_thread)


def _there(function: Any, lang: str | None) -> Any:
    """Answer a function as a language has it; None is the workflow's own."""
    return function if lang is None else function.options(queue=lang)


@functools.cache
def _with(do: str, how: str, times: int, lang: str | None) -> Any:
    """Answer the function for such a node, with its options."""
    if how == "thread":
        return _there(in_thread, lang) if do == "activity" else step_in_thread
    function: Any = _there(in_loop, lang) if do == "activity" else step_in_loop
    if how == "stuck":
        return function.options(timeout=0.15, retries=times)
    return function.options(retries=times) if how == "fails" else function


def _call(node: Node) -> Coroutine[Any, Any, Any]:
    return _with(node["do"], node["how"], node.get("times", 0), node.get("lang")).run(node)


# --- the interpreter ----------------------------------------------------------------------


@workflow(name="program")
async def program(node: Any) -> Any:
    """Run a program and answer the value of its root."""
    return await run(node)


async def run(node: Node) -> Any:
    """Run a part."""
    return await _RUN[node["do"]](node)


def start(node: Node, bare: bool) -> Awaitable[Any]:
    """Answer a part to be awaited; a bare call of the SDK where it is one, and may be bare."""
    if bare and node["do"] in ("activity", "step"):
        return _call(node)
    return run(node)


def describe(error: BaseException) -> list[Any]:
    """Answer what is compared of an exception."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return ["ExceptionGroup", [describe(each) for each in group.exceptions]]
    found: list[Any] = [type(error).__name__, str(error)]
    attempts = getattr(error, "attempts", None)
    return found if attempts is None else [*found, attempts]


def _ended(future: asyncio.Future[Any]) -> list[Any]:
    """Answer how a future ended."""
    if future.cancelled():
        return ["stopped"]
    error = future.exception()
    return ["ok", future.result()] if error is None else ["failed", describe(error)]


# --- leaves ---


async def _leaf(node: Node) -> Any:
    return await _call(node)


async def _sleep(node: Node) -> str:
    seconds = node["ms"] / 1000
    await (asyncio.sleep(seconds) if node["plain"] else sleep(seconds))
    return f"sleep {node['n']}"


async def _state(node: Node) -> str:
    set_state({"at": node["n"]})
    return f"state {node['n']}"


async def _version(node: Node) -> int:
    return get_version(node["change"], 1, 3)


async def _chance(node: Node) -> list[str]:
    return [str(uuid4()), repr(random()), now().isoformat()]


async def _turn(node: Node) -> str:
    await asyncio.sleep(0)
    return f"turn {node['n']}"


async def _raise(node: Node) -> None:
    raise ProgramError(f"raise {node['n']}")


async def _never(node: Node) -> None:
    match node["what"]:
        case "signal":
            await wait_for_signal(f"never {node['n']}")
        case "sleep":
            await sleep(ENDLESS)
        case "child":
            never = {"do": "never", "n": node["n"], "what": "signal"}
            await _there(program, node.get("lang")).run(never)
        case do:
            await _call({**node, "do": do, "how": "endless"})


async def _signal(node: Node) -> list[Any]:
    """Wait for signals, beside whoever sends them."""
    me, n, count = workflow_info().id, node["n"], node["count"]
    sender: Awaitable[Any] | None = None
    match node["by"]:
        case "harness":
            if "CRASH_STAGE" in os.environ:  # it is a replay otherwise, and nobody listens
                note("waits", str(n), id=me, count=count)
        case "activity":
            sender = (
                _there(in_loop, node.get("lang"))
                .options(retries=20)
                .run(
                    {
                        "do": "activity",
                        "n": n,
                        "how": "sends",
                        "to": me,
                        "signal": n,
                        "count": count,
                    }
                )
            )
        case "child":
            sending = {"do": "send", "n": n, "to": me, "count": count}
            sender = _there(program, node.get("lang")).run(sending)
        case "self":
            sender = _send({"n": n, "to": me, "count": count})
        case _:
            pass
    if sender is None:
        return await _heard(node)
    return (await gather(_heard(node), sender))[0]


async def _send(node: Node) -> str:
    for index in range(node["count"]):
        payload = f"{node['n']}.{index}"
        await send_signal(node["to"], f"signal {node['n']}", payload)
    return f"send {node['n']}"


async def _heard(node: Node) -> list[Any]:
    limit = None if node["timeout_ms"] is None else node["timeout_ms"] / 1000

    def next_one() -> Coroutine[Any, Any, Any]:
        return wait_for_signal(f"signal {node['n']}", timeout=limit)

    calls = [next_one() for _ in range(node["count"])] if node["together"] else []
    heard: list[Any] = []
    for index in range(node["count"]):
        try:
            heard.append(await (calls[index] if calls else next_one()))
        except SignalTimeout:
            heard.append("late")
    return heard


# --- branches ---


async def _seq(node: Node) -> list[Any]:
    return [await run(part) for part in node["parts"]]


def _started(node: Node) -> list[Awaitable[Any]]:
    return [start(part, node["bare"]) for part in node["parts"]]


async def _gather(node: Node) -> list[Any]:
    if not node["all"]:
        return list(await gather(*_started(node)))
    found = await gather(*_started(node), return_exceptions=True)
    return [_result(each) for each in found]


def _result(found: Any) -> list[Any]:
    if isinstance(found, asyncio.CancelledError):
        return ["stopped"]
    return ["failed", describe(found)] if isinstance(found, BaseException) else ["ok", found]


async def _group(node: Node) -> list[Any]:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(cast("Coroutine[Any, Any, Any]", each)) for each in _started(node)
        ]
    return [task.result() for task in tasks]


async def _race(node: Node) -> list[Any]:
    return list(await race(**{f"p{index}": each for index, each in enumerate(_started(node))}))


async def _timeout(node: Node) -> Any:
    async with timeout(node["ms"] / 1000):
        return await run(node["body"])


async def _each(node: Node) -> list[Any]:
    futures: list[asyncio.Future[Any]] = [asyncio.ensure_future(each) for each in _started(node)]
    return [[futures.index(each), _ended(each)] async for each in as_completed(futures)]


_UNTIL = {"first": "FIRST_COMPLETED", "failure": "FIRST_EXCEPTION", "all": "ALL_COMPLETED"}


async def _wait(node: Node) -> list[Any]:
    futures: list[asyncio.Future[Any]] = [asyncio.ensure_future(each) for each in _started(node)]
    limit = None if node["timeout_ms"] is None else node["timeout_ms"] / 1000
    done, late = await wait(futures, timeout=limit, return_when=cast("Any", _UNTIL[node["until"]]))
    ends = [[futures.index(each), _ended(each)] for each in done]
    for each in late:
        each.cancel()
    await gather(*late, return_exceptions=True)
    return ends


async def _try(node: Node) -> Any:
    caught = {"error": Exception, "cancel": asyncio.CancelledError, "all": BaseException}
    try:
        try:
            return ["done", await run(node["body"])]
        except caught.get(node["catch"], ()) as error:
            stopped = isinstance(error, asyncio.CancelledError)
            handled = await run(node["handler"])
            if node["again"]:
                raise
            return ["caught", "stopped" if stopped else describe(error), handled]
    finally:
        if node["last"] is not None:
            await run(node["last"])


async def _shield(node: Node) -> Any:
    return await shield(start(node["body"], node["bare"]))


async def _cancel(node: Node) -> list[Any]:
    branch = asyncio.ensure_future(start(node["body"], node["bare"]))
    before = await run(node["meanwhile"])
    branch.cancel()
    try:
        return [before, ["ok", await branch]]
    except asyncio.CancelledError:
        return [before, ["stopped"]]


async def _child(node: Node) -> Any:
    how, body, there = node["how"], node["body"], _there(program, node.get("lang"))
    if how == "run":
        return await there.run(body)
    if how == "expire":
        return await there.options(timeout=0.3).run(body)
    if how == "detach":
        await there.options(close_policy="detach").queue(body)
        return f"child {node['n']}"
    handle = await there.queue(body)
    before = await run(node["meanwhile"])
    if how == "queue":
        return [before, await handle.result()]
    await handle.cancel()
    try:
        return [before, ["ok", await handle.result()]]
    except Exception as error:
        return [before, ["failed", describe(error)]]


async def _again(node: Node) -> None:
    await run(node["body"])
    cast("Any", workflows).continue_as_new(node["next"])


_RUN: dict[str, Callable[[Node], Coroutine[Any, Any, Any]]] = {
    "activity": _leaf,
    "step": _leaf,
    "sleep": _sleep,
    "signal": _signal,
    "send": _send,
    "state": _state,
    "version": _version,
    "chance": _chance,
    "turn": _turn,
    "raise": _raise,
    "never": _never,
    "seq": _seq,
    "gather": _gather,
    "group": _group,
    "race": _race,
    "timeout": _timeout,
    "each": _each,
    "wait": _wait,
    "try": _try,
    "shield": _shield,
    "cancel": _cancel,
    "child": _child,
    "again": _again,
}
