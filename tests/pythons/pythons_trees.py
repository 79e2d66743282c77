"""Random workflows: trees of what asyncio and the SDK offer for doing several things at once.

A tree is plain JSON, `{"is": ..., ...}`, so that each interpreter can be given
the same one. Every node has a number, and publishes it as the state when
something happens in it: what runs in another order gives other commands.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any

import workflows
from workflows import activity, set_state, sleep, step, wait_for_signal, workflow

Tree = dict[str, Any]
SIGNALS = ("x", "y")


@activity(name="work")
async def work(n: int) -> int: ...


@step(name="count")
def count(n: int) -> int:
    return n + 1


class Oops(Exception):
    """What trees raise."""


# --- growing ------------------------------------------------------------------------------


class Grower:
    """Grows one tree; the same seed grows the same one."""

    def __init__(self, seed: int, size: int = 12) -> None:
        self._random = random.Random(seed)
        self._left = size
        self._numbers = 0

    def grow(self, depth: int = 0) -> Tree:
        """Answers a node with what is under it."""
        self._left -= 1
        leaf = depth > 3 or self._left <= 0 or (depth > 0 and self._random.random() < 0.3)
        kind = self._pick(_LEAVES if leaf else _BRANCHES)
        self._numbers += 1
        node: Tree = {"is": kind, "n": self._numbers, "by": self._pick(("asyncio", "workflows"))}
        node["how"] = self._random.randrange(6)
        if kind == "sleep":
            node["ms"] = self._pick((0, 1000, 1000, 2000, 5000))
        elif kind == "signal":
            node |= {"name": self._pick(SIGNALS), "ms": self._pick((None, 0, 1000, 2000))}
        elif kind == "tick":
            node["times"] = self._random.randrange(1, 4)
        elif not leaf:
            node |= {
                "under": [self.grow(depth + 1) for _ in range(self._pick((1, 2, 2, 3, 3, 4)))],
                "ms": self._pick((0, 1000, 2000, 3000)),
            }
        return node

    def _pick(self, choices: Any) -> Any:
        return choices[self._random.randrange(len(choices))]


# --- running ------------------------------------------------------------------------------

Run = Callable[[Tree], Coroutine[Any, Any, Any]]


@workflow(name="tree")
async def tree(root: Tree) -> Any:
    """Runs a tree, and what it can do when it was cancelled."""
    try:
        return await run(root)
    finally:
        await work.run(0)


async def run(node: Tree) -> Any:
    """Runs a node, and publishes that it did."""
    number = node["n"]
    try:
        result = await _KINDS[node["is"]](node)
    except BaseException as error:
        set_state([number, type(error).__name__])
        raise
    set_state(number)
    return result


async def _work(node: Tree) -> Any:
    return await work.run(node["n"])


async def _count(node: Tree) -> Any:
    return await count.run(node["n"])


async def _sleep(node: Tree) -> None:
    if node["by"] == "asyncio":
        await asyncio.sleep(node["ms"] / 1000)
    else:
        await sleep(node["ms"] / 1000)


async def _signal(node: Tree) -> Any:
    limit = None if node["ms"] is None else node["ms"] / 1000
    return await wait_for_signal(node["name"], timeout=limit)


async def _tick(node: Tree) -> None:
    for _ in range(node["times"]):
        await asyncio.sleep(0)


async def _raise(node: Tree) -> None:
    raise Oops(str(node["n"]))


async def _in_turn(node: Tree) -> None:
    for each in node["under"]:
        await run(each)


async def _gather(node: Tree) -> Any:
    gather = asyncio.gather if node["by"] == "asyncio" else workflows.gather
    under = [_started(each, node["how"]) for each in node["under"]]
    return await gather(*under, return_exceptions=node["how"] % 2 == 0)


def _started(node: Tree, how: int) -> Awaitable[Any]:
    """A coroutine, a task, or the call itself."""
    if how > 3 and node["is"] == "work":
        return work.run(node["n"])
    return asyncio.ensure_future(run(node)) if how > 1 else run(node)


def _future(node: Tree) -> asyncio.Future[Any]:
    """A task, or a future that is none."""
    if node["how"] < 3:
        return asyncio.ensure_future(run(node))
    if node["by"] == "asyncio":
        return asyncio.shield(asyncio.ensure_future(run(node)))
    return workflows.gather(run(node), _noting(node["n"]))


async def _gather_again(node: Tree) -> Any:
    """Gathers some of what has ended together with what has not."""
    gather = asyncio.gather if node["by"] == "asyncio" else workflows.gather
    under = [_future(each) for each in node["under"]]
    await workflows.wait(under, return_when=_mode(node))
    other = asyncio.ensure_future(_noting(node["n"]))
    try:
        return await gather(*under, return_exceptions=node["how"] % 2 == 0)
    finally:
        set_state([node["n"], "gathered"])
        await other


async def _noting(number: int) -> None:
    for at in range(4):
        set_state([number, at])
        await asyncio.sleep(0)


async def _race(node: Tree) -> Any:
    return await workflows.race(**{f"r{each['n']}": run(each) for each in node["under"]})


async def _wait(node: Tree) -> None:
    under = [_future(each) for each in node["under"]]
    limit = node["ms"] / 1000 or None
    wait: Any = asyncio.wait if node["by"] == "asyncio" else workflows.wait
    done, _ = await wait(under, timeout=limit, return_when=_mode(node))
    for each in done:  # asyncio's is a set
        set_state([node["n"], under.index(each)])
    await _end(under)


def _mode(node: Tree) -> Any:
    modes = ("FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED")
    how: int = node["how"]
    return modes[how % len(modes)]


async def _end(futures: list[asyncio.Future[Any]]) -> None:
    for each in futures:
        each.cancel()
    await workflows.gather(*futures, return_exceptions=True)


async def _as_completed(node: Tree) -> None:
    async for each in workflows.as_completed([run(each) for each in node["under"]]):
        set_state([node["n"], each.cancelled() or str(each.exception())])


async def _timeout(node: Tree) -> None:
    timeout = asyncio.timeout if node["by"] == "asyncio" else workflows.timeout
    try:
        async with timeout(node["ms"] / 1000):
            await _in_turn(node)
    except TimeoutError:
        if node["how"] > 3:
            raise


async def _group(node: Tree) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            for each in node["under"][1:]:
                group.create_task(run(each))
            await run(node["under"][0])
    except* (Oops, TimeoutError) as errors:
        set_state([node["n"], [str(each) for each in errors.exceptions]])
        if node["how"] > 3:
            raise


async def _shield(node: Tree) -> Any:
    inner = asyncio.ensure_future(_in_turn(node))
    shield = asyncio.shield if node["by"] == "asyncio" else workflows.shield
    try:
        return await shield(inner)
    except asyncio.CancelledError:
        await inner
        raise


async def _cleaned_up(node: Tree) -> None:
    *under, last = node["under"]
    try:
        for each in under:
            await run(each)
    finally:
        await run(last)


async def _caught(node: Tree) -> None:
    caught = asyncio.CancelledError if node["how"] > 3 else Exception
    try:
        await _in_turn(node)
    except caught:
        set_state([node["n"], "caught"])


async def _cancelled(node: Tree) -> None:
    tasks = [asyncio.ensure_future(run(each)) for each in node["under"]]
    for _ in range(node["how"]):
        await asyncio.sleep(0)
    tasks[0].cancel()
    if node["by"] == "asyncio":
        tasks[0].cancel()
    await asyncio.wait(tasks)


async def _bounded(node: Tree) -> None:
    slots = asyncio.Semaphore(1 + node["how"] % 2)

    async def one(each: Tree) -> None:
        async with slots:
            await run(each)

    async with asyncio.TaskGroup() as group:
        for each in node["under"]:
            group.create_task(one(each))


async def _in_a_queue(node: Tree) -> None:
    queue: asyncio.Queue[Tree | None] = asyncio.Queue(node["how"] % 3)

    async def consume() -> None:
        while (each := await queue.get()) is not None:
            await run(each)

    consumer = asyncio.ensure_future(consume())
    try:
        for each in [*node["under"], None]:
            await queue.put(each)
        await consumer
    finally:
        consumer.cancel()


async def _notified(node: Tree) -> None:
    ready, open = asyncio.Condition(), list(node["under"])

    async def one() -> None:
        async with ready:
            await ready.wait_for(lambda: bool(open))
            each = open.pop(0)
        await run(each)

    async with asyncio.TaskGroup() as group:
        for _ in node["under"]:
            group.create_task(one())
        async with ready:
            ready.notify(node["how"])
        await asyncio.sleep(0)
        async with ready:
            ready.notify_all()


async def _generated(node: Tree) -> None:
    async def numbers() -> AsyncGenerator[Any, None]:
        try:
            for each in node["under"]:
                yield await run(each)
        finally:
            set_state([node["n"], "closed"])
            await work.run(node["n"])

    async for _ in numbers():
        if node["how"] % 2:
            break


_LEAVES = (*["work"] * 6, "count", "count", *["sleep"] * 4, "signal", "signal", "tick", "raise")
_KINDS: dict[str, Run] = {
    "work": _work,
    "count": _count,
    "sleep": _sleep,
    "signal": _signal,
    "tick": _tick,
    "raise": _raise,
    "in_turn": _in_turn,
    "gather": _gather,
    "gather_again": _gather_again,
    "race": _race,
    "wait": _wait,
    "as_completed": _as_completed,
    "timeout": _timeout,
    "group": _group,
    "shield": _shield,
    "cleaned_up": _cleaned_up,
    "caught": _caught,
    "cancelled": _cancelled,
    "bounded": _bounded,
    "in_a_queue": _in_a_queue,
    "notified": _notified,
    "generated": _generated,
}
_BRANCHES = tuple(kind for kind in _KINDS if kind not in _LEAVES)
