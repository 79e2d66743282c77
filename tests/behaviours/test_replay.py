"""Code that no longer fits a history, versions, and what a replay shows to the code."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from crash_stage import PATIENCE, Stage, code
from workflows import (
    ExecutionFailed,
    Function,
    Handle,
    ResultTimeout,
    activity,
    get_version,
    is_replaying,
    job,
    sleep,
    step,
    wait_for_signal,
    workflow,
)
from workflows._operations import Execution
from workflows._registry import Registry

Ask = Callable[[], Awaitable[Any]]


class Release:
    """The functions of one release of an application, in which only the workflow changes."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        with code() as self.functions:

            @activity(name="a", retries=0)
            async def a(n: int = 0) -> int:
                self.ran["a"] += 1
                return 1

            @activity(name="b", retries=0, queue="later")
            async def b() -> int:
                self.ran["b"] += 1
                return 2

            @job(name="behind", priority=0)
            async def behind() -> str:
                return "served"

        self.a, self.b, self.behind = a, b, behind

    def workflow(
        self, main: Callable[..., Awaitable[Any]], name: str = "order"
    ) -> Function[..., Any]:
        with code():
            function = workflow(name=name)(main)  # type: ignore[arg-type]
        self.functions.add(function)
        return function


async def parked(stage: Stage, handle: Handle[Any], releases: int = 1) -> str:
    """Wait until a workflow is parked, for the nth time, and answer what it is parked for."""

    async def count() -> int:
        row = await stage.get(handle)
        assert row["status"] not in ("completed", "failed"), row
        return row["releases"] if "parked" in row else 0

    await stage.becomes(count, releases)
    return (await stage.get(handle)).get("parked", "")


async def children(stage: Stage, handle: Handle[Any]) -> list[Execution]:
    return (await stage.client.list(parent_id=handle.id))["executions"]


async def command(stage: Stage, *words: str) -> str:
    """Type a command, and answer what it printed."""
    process = stage.run(f"workflows {words[0]}", "-m", "workflows", *words)
    assert await stage.exits(process) == 0, process.output
    return process.output


# --- code that does not fit -------------------------------------------------------------------


async def test_swapped_activities_park_the_workflow_until_the_old_code_is_back(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """R2: the error names both sides, nothing new is scheduled, and `retry` lets it finish."""
    old, new = Release(), Release()

    async def in_order() -> int:
        return await old.a.run() + await old.b.run()

    async def swapped() -> int:
        return await new.b.run() + await new.a.run()

    order = old.workflow(in_order)
    new.workflow(swapped)
    async with stage.serving(old.functions):
        handle = await stage.queue(order)
        await scheduled(stage, handle, 2)
    before = await stage.types(handle)

    async with stage.serving(new.functions, "default", "later"):
        message = await parked(stage, handle)
        assert re.search(r"position 2 .*: the activity 'a' \(sequence 1\)", message)
        assert re.search(r"attempted: the activity 'b'", message)
        assert [message] == [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]

        # It rests, where it can be seen, and an event does not wake it.
        row = await stage.get(handle)
        assert (row["status"], row["failures"], row["crashes"]) == ("suspended", 0, 0)
        assert [e["id"] for e in (await stage.client.list(parked=True))["executions"]] == [
            handle.id
        ]
        assert handle.id in await command(stage, "list", "--parked")
        await handle.signal("wake up")
        assert await (await stage.queue(new.behind)).result(PATIENCE) == "served"
        after = await stage.get(handle)
        assert after == {
            **row,
            "history_length": row["history_length"] + 1,
            "run_at": after["run_at"],
        }
        with pytest.raises(ResultTimeout):
            await handle.result(0.1)

        # Nothing new: only the end of b, and the signal, are in its history.
        assert await stage.types(handle) == [*before, "activity_completed", "signal_received"]
        assert len(await children(stage, handle)) == 2
        assert (old.ran, new.ran) == ({"a": 1}, {"b": 1})

        # While the code does not fit, a retry changes nothing.
        await stage.client.retry(handle.id)
        assert await parked(stage, handle, releases=2) == message

    async with stage.serving(old.functions, "default", "later"):
        assert handle.id in await command(stage, "retry", handle.id)
        assert await handle.result(PATIENCE) == 3
    assert (old.ran, new.ran) == ({"a": 1}, {"b": 1})
    row = await stage.get(handle)
    assert (row["run"], row["attempts"], row["failures"]) == (1, 1, 0)
    assert (await stage.client.list(parked=True))["executions"] == []


async def scheduled(stage: Stage, handle: Handle[Any], count: int) -> None:
    """Wait until a workflow has asked for so many activities, and waits for the last."""

    async def asked() -> tuple[str, int]:
        types = await stage.types(handle)
        return await handle.status(), types.count("activity_scheduled")

    await stage.becomes(asked, ("suspended", count))


def asks(kind: str, name: str) -> tuple[Registry, Ask]:
    """Answer a way to ask for something of this kind and name, and what it needs."""
    with code() as functions:
        if kind == "timer":
            return functions, lambda: sleep(0.01)

        async def body() -> None: ...

        decorate = {"activity": activity, "child": workflow, "step": step, "job": job}[kind]
        function = decorate(name=name)(body)
    return functions, lambda: function.run()


@pytest.mark.parametrize(
    ("recorded", "attempted"),
    [
        ("timer", "activity"),
        ("activity", "timer"),
        ("activity", "child"),
        ("child", "step"),
        ("step", "activity"),
    ],
)
async def test_the_same_name_of_another_kind_does_not_fit(
    stage: Stage, recorded: str, attempted: str
) -> None:
    """R3: a timer where an activity was, and the like: the error of R2."""
    names = {"timer": "the timer", "child": "the child workflow", "step": "the step"}
    releases: list[Registry] = []
    orders: list[Function[..., Any]] = []
    for kind in (recorded, attempted):
        functions, ask = asks(kind, "sleep")

        async def order(ask: Ask = ask) -> None:
            await ask()
            await wait_for_signal("go")

        with code():
            orders.append(workflow(name="order")(order))
        functions.add(orders[-1])
        releases.append(functions)

    async with stage.serving(releases[0]):
        handle = await stage.queue(orders[0])
        # All that it asks for has ended, and it waits for the signal.
        await stage.becomes(lambda: ended(stage, handle), 1)
        await stage.is_in(handle, "suspended")
    before = await stage.types(handle)
    await handle.signal("go")
    async with stage.serving(releases[1]):
        message = await parked(stage, handle)
    assert f"recorded: {names.get(recorded, 'the activity')} 'sleep'" in message
    assert f"attempted: {names.get(attempted, 'the activity')} 'sleep'" in message
    assert await stage.types(handle) == [*before, "signal_received"]
    async with stage.serving(releases[0]):
        assert (await stage.client.retry(handle.id))["changed"]
        await handle.result(PATIENCE)


async def ended(stage: Stage, handle: Handle[Any]) -> int:
    ends = re.compile("(activity|child|step)_completed|timer_fired")
    return sum(ends.fullmatch(each) is not None for each in await stage.types(handle))


async def test_code_that_asks_for_less_than_history_recorded_does_not_succeed(stage: Stage) -> None:
    """R4: whether it returns, raises or waits where its history went on."""
    old = Release()

    async def both() -> int:
        return await old.a.run(1) + await old.a.run(2) + await wait_for_signal("go", int)

    async def returns(release: Release) -> int:
        return await release.a.run(1)

    async def raises(release: Release) -> int:
        raise ValueError(await release.a.run(1))

    async def waits_for_something_else(release: Release) -> int:
        await release.a.run(1)
        return await wait_for_signal("never")

    order = old.workflow(both)
    endings = {returns: "it ended", raises: "it ended", waits_for_something_else: "it waits"}
    for ending, told in endings.items():
        new = Release()

        async def less(new: Release = new, ending: Any = ending) -> int:
            return await ending(new)

        new.workflow(less)
        async with stage.serving(old.functions):
            handle = await stage.queue(order)
            await stage.becomes(lambda handle=handle: ended(stage, handle), 2)
            await stage.is_in(handle, "suspended")
        await handle.signal("go", 5)
        async with stage.serving(new.functions):
            message = await parked(stage, handle)
        assert re.search(r"recorded: the activity 'a' \(sequence 2\)", message)
        assert f"attempted: nothing, {told}" in message
        async with stage.serving(old.functions):
            await stage.client.retry(handle.id)
            assert await handle.result(PATIENCE) == 7


# --- versions ---------------------------------------------------------------------------------


async def test_a_version_before_a_point_that_was_passed_is_the_oldest(stage: Stage) -> None:
    """R6: 1 for a workflow that lives, 2 for new ones, and 2 for what still lies ahead of both."""
    old, new = Release(), Release()

    async def before() -> list[int]:
        await old.a.run()
        await wait_for_signal("go")
        await old.a.run()
        return []

    async def after() -> list[int]:
        versions = [get_version("c", 1, 2)]
        if versions[0] == 2:
            await new.a.run(2)
        await new.a.run()
        await wait_for_signal("go")
        versions.append(get_version("ahead", 1, 2))
        await new.a.run()
        return versions

    order = old.workflow(before)
    new.workflow(after)
    async with stage.serving(old.functions):
        live = await stage.queue(order)
        await stage.becomes(lambda: ended(stage, live), 1)
        await stage.is_in(live, "suspended")
    async with stage.serving(new.functions, warm=0):
        fresh = await stage.queue(order)
        for handle in (live, fresh):
            await handle.signal("go")
        assert await live.result(PATIENCE) == [1, 2]
        assert await fresh.result(PATIENCE) == [2, 2]
    assert (await stage.types(live)).count("activity_completed") == 2
    assert (await stage.types(fresh)).count("activity_completed") == 3


async def test_a_version_before_a_wait_that_was_passed_is_the_oldest(stage: Stage) -> None:
    """R6: also where it has asked for nothing since, as it waits for one signal after another."""
    old, new = Release(), Release()

    async def before() -> list[int]:
        await wait_for_signal("first")
        await wait_for_signal("second")
        return []

    async def after() -> list[int]:
        versions = [get_version("c", 1, 2)]
        await wait_for_signal("first")
        versions.append(get_version("d", 1, 2))
        await wait_for_signal("second")
        return [*versions, get_version("ahead", 1, 2)]

    order = old.workflow(before)
    new.workflow(after)
    async with stage.serving(old.functions):
        live = await stage.queue(order)
        await stage.is_in(live, "suspended")
        await live.signal("first")
        await stage.is_in(live, "suspended")
    async with stage.serving(new.functions, warm=0):
        fresh = await stage.queue(order)
        await fresh.signal("first")
        for handle in (live, fresh):
            await handle.signal("second")
        assert await live.result(PATIENCE) == [1, 1, 2]
        assert await fresh.result(PATIENCE) == [2, 2, 2]


async def test_a_change_has_one_version_in_a_loop_and_in_two_places(stage: Stage) -> None:
    """R7: also when the workflow was in the middle of the loop as the change came."""
    old, new = Release(), Release()

    async def before() -> list[int]:
        for _ in range(3):
            await old.a.run()
            await wait_for_signal("go")
        return []

    async def after() -> list[int]:
        versions: list[int] = []
        for _ in range(3):
            versions.append(get_version("c", 1, 2))
            await new.a.run()
            await wait_for_signal("go")
        return [*versions, get_version("c", 1, 2)]

    order = old.workflow(before)
    new.workflow(after)
    async with stage.serving(old.functions):
        live = await stage.queue(order)
        await live.signal("go")
        await stage.becomes(lambda: ended(stage, live), 2)
        await stage.is_in(live, "suspended")
    async with stage.serving(new.functions, warm=0):
        fresh = await stage.queue(order)
        for _ in range(2):
            await live.signal("go")
        for _ in range(3):
            await fresh.signal("go")
        assert await live.result(PATIENCE) == [1, 1, 1, 1]
        assert await fresh.result(PATIENCE) == [2, 2, 2, 2]
    assert (await stage.types(live)).count("version_marked") == 0
    assert (await stage.types(fresh)).count("version_marked") == 1


def versioned(low: int | None, high: int = 0) -> tuple[Registry, Function[..., Any]]:
    """Answer a release that knows these versions of a change; None: the call was removed."""
    release = Release()

    async def order() -> int:
        version = high if low is None else get_version("c", low, high)
        await release.a.run()
        await wait_for_signal("go")
        return version

    function = release.workflow(order)
    return release.functions, function


async def test_a_version_that_the_code_no_longer_has_is_a_typed_error(stage: Stage) -> None:
    """R8: and with code that has it, `retry` lets the workflow finish."""
    first, order = versioned(1, 1)
    async with stage.serving(first):
        handle = await stage.queue(order)
        await stage.becomes(lambda: ended(stage, handle), 1)
        await stage.is_in(handle, "suspended")
    await handle.signal("go")
    async with stage.serving(versioned(2, 3)[0]):
        with pytest.raises(ExecutionFailed) as caught:
            await handle.result(PATIENCE)
    assert caught.value.type == "VersionError"
    for part in ("version 1", "'c'", "2 to 3"):
        assert part in caught.value.message
    assert caught.value.details == {"change": "c", "recorded": 1, "minimum": 2, "maximum": 3}
    async with stage.serving(versioned(1, 3)[0]):
        assert (await stage.client.retry(handle.id))["changed"]
        assert await handle.result(PATIENCE) == 1


async def test_removing_a_version_that_all_workflows_go_by_is_harmless(stage: Stage) -> None:
    """R8: for one that recorded it, and for new ones."""
    first, order = versioned(1, 2)
    async with stage.serving(first):
        handle = await stage.queue(order)
        await stage.becomes(lambda: ended(stage, handle), 1)
        await stage.is_in(handle, "suspended")
    assert "version_marked" in await stage.types(handle)
    async with stage.serving(versioned(None, 7)[0], warm=0):
        fresh = await stage.queue(order)
        for each in (handle, fresh):
            await each.signal("go")
            assert await each.result(PATIENCE) == 7


# --- what a replay shows ----------------------------------------------------------------------


async def test_is_replaying_is_true_for_what_is_recorded_and_false_from_the_first_new_step(
    stage: Stage,
) -> None:
    """R12: so what is logged when it is false is logged once."""
    told: list[list[bool]] = []
    release = Release()

    async def order() -> None:
        mine: list[bool] = []
        told.append(mine)
        for n in range(3):
            mine.append(is_replaying())
            await release.a.run(n)
        mine.append(is_replaying())
        await sleep(0.01)
        mine.append(is_replaying())
        await wait_for_signal("go")
        mine.append(is_replaying())

    async with stage.serving(release.functions, warm=0):
        handle = await stage.queue(release.workflow(order))
        await handle.signal("go")
        await handle.result(PATIENCE)
    assert len(told) > 2, "nothing was replayed"
    for each in told:
        new = each.index(False) if False in each else len(each)
        assert each == [True] * new + [False] * (len(each) - new)
    points = [sum(len(each) > at and not each[at] for each in told) for at in range(6)]
    assert points == [1, 1, 1, 1, 1, 1], told
