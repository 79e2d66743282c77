"""Children: workflows and activities that a workflow starts, and what binds them to it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from crash_here import Here
from crash_stage import PATIENCE
from workflows import (
    ActivityError,
    ChildCancelled,
    ChildError,
    ChildFailed,
    ChildTimeout,
    ExecutionFailed,
    activity,
    attempt_info,
    gather,
    send_signal,
    sleep,
    wait_for_signal,
    workflow,
    workflow_info,
)

# --- queues and slots ---------------------------------------------------------------------


@pytest.mark.parametrize("warm", [2000, 0], ids=["warm", "cold"])
async def test_parent_child_and_grandchild_share_one_slot_of_one_worker(
    here: Here, warm: int
) -> None:
    """G7: whoever waits holds no slot."""

    @activity
    async def leaf(n: int) -> int:
        await asyncio.sleep(0.01)
        return n

    @workflow
    async def level(n: int) -> int:
        if n == 0:
            return await leaf.run(1)
        return sum(await gather(level.run(n - 1), level.run(n - 1)))

    await here.work(concurrency=1, warm=warm)
    assert await here.result(level, 4) == 16


async def test_100_children_finish_on_a_worker_with_one_slot(here: Here) -> None:
    """G7: in argument order."""

    @workflow
    async def child(n: int) -> int:
        return n

    @workflow
    async def parent() -> list[int]:
        return await gather(*(child.run(n) for n in range(100)))

    await here.work(concurrency=1)
    assert await here.result(parent) == list(range(100))


async def test_a_child_runs_on_the_queue_it_names_or_on_its_parents(here: Here) -> None:
    """A worker serves one queue each; by option, by decorator, and by inheritance."""

    @activity
    async def where() -> str:
        return attempt_info().queue

    @workflow
    async def child() -> list[str]:
        return [workflow_info().queue, await where.run()]

    @workflow(queue="named")
    async def named_child() -> list[str]:
        return [workflow_info().queue, await where.run()]

    @workflow
    async def parent() -> list[list[str]]:
        return list(
            await gather(child.run(), named_child.run(), child.options(queue="asked").run())
        )

    for queue in ("parents", "named", "asked"):
        await here.work(queue)
    assert await here.result(parent.options(queue="parents")) == [
        ["parents", "parents"],
        ["named", "named"],
        ["asked", "asked"],
    ]


async def test_a_child_knows_its_parent_and_can_signal_it(here: Here) -> None:
    @workflow
    async def child(n: int) -> str:
        parent = workflow_info().parent_id
        assert parent is not None
        await send_signal(parent, "hello", n)
        return workflow_info().root_id

    @workflow
    async def parent() -> list[Any]:
        roots = await gather(*(child.run(n) for n in range(3)))
        greetings = sorted([await wait_for_signal("hello", int) for _ in range(3)])
        return [greetings, set(roots) == {workflow_info().id}]

    await here.work(warm=0)
    assert await here.result(parent) == [[0, 1, 2], True]


# --- how a child ends ---------------------------------------------------------------------


async def test_the_failure_the_cancel_and_the_timeout_of_a_child_can_be_told_apart(
    here: Here,
) -> None:
    """C9: by type; each names the child, and says why."""

    @workflow
    async def child(how: str) -> None:
        if how == "fails":
            raise LookupError("not there")
        await sleep("1h")

    @workflow
    async def parent() -> list[list[Any]]:
        hows = ("fails", "is cancelled", "is terminated")
        calls = [child.run(how) for how in hows]
        calls.append(child.options(timeout=0.3).run("is late"))
        told: list[list[Any]] = []
        for call in calls:
            try:
                await call
            except ChildError as error:
                timed_out = isinstance(error, TimeoutError)
                told.append([type(error).__name__, timed_out, error.type, error.message, error.id])
        return told

    await here.work(warm=0)
    handle = await here.suspended(parent)
    children = await here.children(handle)
    await here.handle(children[1]).cancel("out of stock")
    await here.handle(children[2]).terminate("at once")
    told = await handle.result(PATIENCE)
    assert [each[:3] for each in told] == [
        [ChildFailed.__name__, False, "LookupError"],
        [ChildCancelled.__name__, False, "Cancelled"],
        [ChildCancelled.__name__, False, "Cancelled"],
        [ChildTimeout.__name__, True, "ExecutionTimeout"],
    ]
    assert told[0][3] == "not there"
    assert told[1][3].endswith("out of stock")
    assert told[2][3].endswith("at once")
    assert [each[4] for each in told] == [child["id"] for child in children]
    statuses = [each["status"] for each in await here.children(handle)]
    assert statuses == ["failed", "cancelled", "cancelled", "failed"]


async def test_an_uncaught_failure_fails_every_level_with_the_chain_of_causes(here: Here) -> None:
    """C8: an activity's error, through a child and its parent, to whoever asks for the result."""

    @activity(retries=1, initial=0.01)
    async def charge() -> None:
        try:
            raise ConnectionError("bank")
        except ConnectionError as error:
            raise ValueError("no funds") from error

    @workflow
    async def child() -> None:
        await charge.run()

    @workflow
    async def parent() -> None:
        await child.run()

    await here.work()
    with pytest.raises(ExecutionFailed) as failed:
        await here.result(parent)
    chain: list[str] = []
    cause = failed.value.__cause__
    while cause is not None:
        chain.append(str(cause))
        cause = cause.__cause__
    assert chain == [
        "ChildFailed: ActivityError: ValueError: no funds",
        "ActivityError: ValueError: no funds",
        "ValueError: no funds",
        "ConnectionError: bank",
    ]


async def test_a_failed_activity_is_raised_at_the_await_with_type_message_and_attempts(
    here: Here,
) -> None:
    """C8: catchable, and the workflow goes on; the remote stack is there."""

    @activity(retries=2, initial=0.01)
    async def charge(cents: int) -> None:
        raise ValueError(f"no {cents} cents")

    @workflow
    async def caught() -> list[Any]:
        try:
            await charge.run(5)
        except ActivityError as error:
            cause = error.__cause__
            return [
                error.type,
                error.message,
                error.attempts,
                "in charge" in error.stack,
                str(cause),
            ]
        return []

    await here.work(warm=0)
    assert await here.result(caught) == [
        "ValueError",
        "no 5 cents",
        3,
        True,
        "ValueError: no 5 cents",
    ]


# --- handles ------------------------------------------------------------------------------


async def test_a_child_can_be_started_now_and_asked_later(here: Here) -> None:
    """By its handle: a signal, a result that comes too late, and the result at last."""

    @workflow
    async def child() -> str:
        return await wait_for_signal("word", str)

    @workflow
    async def parent() -> list[Any]:
        handle = await child.queue()
        told: list[Any] = [handle.id]
        try:
            await handle.result(timeout=0.2)
        except TimeoutError:
            told.append("not yet")
        await handle.signal("word", "hello")
        return [*told, await handle.result(), await handle.result()]

    await here.work(warm=0)
    handle = await here.queue(parent)
    result = await handle.result(PATIENCE)
    [only] = await here.children(handle)
    assert result == [only["id"], "not yet", "hello", "hello"]


async def test_a_child_that_its_parent_cancels_cleans_up_and_is_recorded_once(here: Here) -> None:
    undone: list[str] = []

    @activity
    async def undo() -> None:
        undone.append("undone")

    @workflow
    async def child() -> None:
        try:
            await sleep("1h")
        finally:
            await undo.run()

    @workflow
    async def parent() -> str:
        handle = await child.queue()
        await sleep(0.1)
        assert (await handle.cancel())["changed"]
        await handle.cancel()
        try:
            await handle.result()
        except ChildCancelled:
            return await wait_for_signal("word", str)
        return ""

    await here.work(warm=0)
    handle = await here.queue(parent)
    await here.recorded(handle, "child_cancelled")
    [child_row] = await here.children(handle)
    await here.stage.is_in(here.handle(child_row), "cancelled")
    await handle.signal("word", "still here")
    assert await handle.result(PATIENCE) == "still here"
    assert (await here.stage.types(handle)).count("child_cancelled") == 1
    assert undone == ["undone"]


# --- the end of a parent ------------------------------------------------------------------


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled", "terminated", "timed out"])
async def test_when_a_parent_ends_its_children_are_cancelled_unless_detached(
    here: Here, end: str
) -> None:
    """C3, R16: however it ends, workflows and activities alike; past its deadline, they are too."""
    go = asyncio.Event()

    @activity
    async def gated() -> str:
        await go.wait()
        return "done"

    @workflow
    async def child() -> str:
        return await wait_for_signal("go on", str)

    @workflow
    async def parent() -> None:
        for function in (child, gated):
            await function.queue()
            await function.options(close_policy="detach").queue()
        if end in ("cancelled", "terminated", "timed out"):
            await sleep("1h")
        await sleep(0.1)
        if end == "failed":
            raise ValueError(end)

    await here.work()
    limited = parent.options(timeout=0.5) if end == "timed out" else parent
    handle = await here.suspended(limited)
    children = [here.handle(each) for each in await here.children(handle)]
    if end in ("cancelled", "terminated"):
        await (handle.cancel() if end == "cancelled" else handle.terminate())
    await here.stage.is_in(handle, {"terminated": "cancelled", "timed out": "failed"}.get(end, end))
    for owned in (children[0], children[2]):
        await here.stage.is_in(owned, "failed" if end == "timed out" else "cancelled")
    go.set()
    await children[1].signal("go on", "alone")
    assert await children[1].result(PATIENCE) == "alone"
    assert await children[3].result(PATIENCE) == "done"
    types = await here.stage.types(handle)
    assert not [each for each in types if each.endswith("_completed")], "a finished one is not told"


# --- deadlines ----------------------------------------------------------------------------


async def test_what_a_workflow_starts_has_its_deadline_unless_its_own_is_earlier(
    here: Here,
) -> None:
    """C3: and unless it is detached."""

    @activity
    async def some_activity() -> None: ...

    @workflow
    async def child() -> None: ...

    @workflow
    async def parent() -> None:
        asked = (
            child,
            some_activity,
            child.options(timeout="2h"),
            child.options(timeout="1m"),
            child.options(close_policy="detach"),
        )
        for function in asked:
            await function.options(delay="1h").queue()
        await sleep("1h")

    await here.work()
    handle = await here.suspended(parent.options(timeout="30m"))
    mine = (await here.stage.get(handle)).get("deadline_at")
    deadlines = [each.get("deadline_at") for each in await here.children(handle)]
    assert mine is not None
    assert deadlines[:3] == [mine] * 3
    assert deadlines[3] is not None
    assert datetime.fromisoformat(deadlines[3]) < datetime.fromisoformat(mine)
    assert deadlines[4] is None
    await handle.terminate()
