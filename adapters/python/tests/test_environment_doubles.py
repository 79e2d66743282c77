"""What stands in for bodies and workflows, and the log of what was called."""

# What is ignored below has to be wrong.
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from workflows import (
    ActivityError,
    ActivityTimeout,
    ChildFailed,
    ExecutionFailed,
    NonRetryableError,
    StepError,
    activity,
    attempt_info,
    gather,
    heartbeat,
    job,
    last_heartbeat,
    race,
    sleep,
    step,
    wait_for_signal,
    workflow,
)
from workflows._functions import AsyncFunction
from workflows._registry import Registry
from workflows.testing import Stuck, WorkflowEnvironment


@dataclass
class Receipt:
    number: str


class Busy(Exception): ...


class Declined(NonRetryableError): ...


Charge = AsyncFunction[[str, int], Receipt]


@pytest.fixture
def charge(own_functions: Registry) -> Charge:
    @activity(retries=3, initial="1s", timeout="30s")
    async def charge(card: str, cents: int) -> Receipt:
        raise AssertionError("the body itself has run")

    return charge


@pytest.fixture
def pays(own_functions: Registry, charge: Charge) -> AsyncFunction[[], str]:
    @workflow
    async def pays() -> str:
        try:
            return (await charge.run("4242", 100)).number
        except ActivityError as error:
            return f"{error.type} {error.attempts}"

    return pays


Pays = AsyncFunction[[], str]


def test_a_value(env: WorkflowEnvironment, charge: Charge, pays: Pays) -> None:
    env.replace(charge, returns=Receipt("r-1"))
    assert env.run(pays) == "r-1"
    [call] = env.calls(charge)
    assert (call.name, call.kind, call.args, call.kwargs) == (
        charge.name,
        "activity",
        ("4242", 100),
        {},
    )
    assert (call.attempts, call.errors, call.status) == (1, [], "completed")
    assert call.result == Receipt("r-1")
    assert call.started == call.ended == env.now()


def test_an_exception_or_its_type(env: WorkflowEnvironment, charge: Charge, pays: Pays) -> None:
    env.replace(charge, raises=Busy("later"))
    assert env.run(pays) == "Busy 4"
    assert env.elapsed == timedelta(seconds=1 + 2 + 4)
    env.replace(charge, raises=Declined)
    assert env.run(pays) == "Declined 1"
    first, second = env.calls(charge)
    assert [str(error) for error in first.errors] == ["later"] * 4
    assert (second.status, len(second.errors)) == ("failed", 1)


def test_outcomes_one_after_another(env: WorkflowEnvironment, charge: Charge, pays: Pays) -> None:
    charged = env.replace(charge, outcomes=[Busy, Busy("still"), Receipt("r-1"), Receipt("r-2")])
    assert [env.run(pays) for _ in range(3)] == ["r-1", "r-2", "r-2"], "the last one stays"
    assert [call.attempts for call in charged.calls] == [3, 1, 1]


def test_a_function_async_or_not(env: WorkflowEnvironment, charge: Charge, pays: Pays) -> None:
    def bank(card: str, cents: int) -> Receipt:
        heartbeat({"asked": attempt_info().attempt})
        if last_heartbeat() and attempt_info().attempt == 1:
            raise Busy
        return Receipt(f"{card}:{cents}")

    async def slow_bank(card: str, cents: int) -> Receipt:
        await asyncio.sleep(29)
        return bank(card, cents)

    banks: list[Callable[[str, int], Any]] = [bank, slow_bank]
    for each in banks:
        env.replace(charge, each)
        assert env.run(pays) == "4242:100"
    assert [call.attempts for call in env.calls(charge)] == [2, 2]
    assert env.elapsed == timedelta(seconds=1 + 29 + 1 + 29)


def test_how_long_it_takes(env: WorkflowEnvironment, charge: Charge, pays: Pays) -> None:
    env.replace(charge, returns=Receipt("r-1"), takes="20s")
    assert env.run(pays) == "r-1"
    assert env.elapsed == timedelta(seconds=20)
    env.replace(charge, returns=Receipt("late"), takes="31s")
    assert env.run(pays) == "AttemptTimeout 4"
    assert env.elapsed == timedelta(seconds=20 + 4 * 30 + 7)


def test_the_body_itself_after_a_while(env: WorkflowEnvironment) -> None:
    @activity
    def sync_body(x: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return x + 1

    @activity
    async def async_body(x: int) -> int:
        return x + 1

    @workflow
    async def w() -> int:
        return await sync_body.run(await async_body.run(1))

    env.replace(sync_body, takes="1h")
    env.replace(async_body, takes="2h")
    assert env.run(w) == 3
    assert env.elapsed == timedelta(hours=3)


def test_the_latest_counts_until_it_is_removed(
    env: WorkflowEnvironment, charge: Charge, pays: Pays
) -> None:
    first = env.replace(charge, returns=Receipt("first"))
    second = env.replace(charge, returns=Receipt("second"))
    assert env.run(pays) == "second"
    second.remove()
    assert env.run(pays) == "first"
    first.remove()
    first.remove()
    assert env.run(pays) == "AssertionError 4"
    assert first.name == charge.name


def test_what_stands_in_is_cancelled_like_a_body(env: WorkflowEnvironment, charge: Charge) -> None:
    @workflow
    async def w() -> str:
        return (await race(paid=charge.run("4242", 1), late=sleep("10s")))[0]

    env.replace(charge, returns=Receipt("late"), takes="20s")
    assert env.run(w) == "late"
    env.skip("1m")
    assert [call.status for call in env.calls(charge)] == ["cancelled"]


def test_steps_and_jobs(env: WorkflowEnvironment) -> None:
    @step(retries=2, initial="1s")
    async def s(x: int) -> int:
        raise AssertionError

    @job
    async def j(x: int) -> int:
        raise AssertionError

    @workflow
    async def w() -> list[Any]:
        try:
            return [await s.run(1), await j.run(x=2)]
        except StepError as error:
            return [error.type, error.attempts]

    env.replace(s, outcomes=[Busy, 10])
    env.replace(j, returns=20)
    assert env.run(w) == [10, 20]
    assert [(c.kind, c.args, c.attempts) for c in env.calls()] == [
        ("step", (1,), 2),
        ("job", (2,), 1),
    ]
    env.replace(s, raises=Busy)
    assert env.run(w) == ["Busy", 3]
    assert env.calls(s)[1].attempts == 3


def test_calls_have_their_arguments_as_the_body_gets_them(env: WorkflowEnvironment) -> None:
    @activity
    async def a(receipt: Receipt, *more: int, note: str = "", **rest: Any) -> None: ...

    @workflow
    async def w() -> None:
        await a.run(Receipt("r-1"), 1, 2, note="x", other=3)

    env.run(w)
    [call] = env.calls(a)
    assert (call.args, call.kwargs) == ((Receipt("r-1"), 1, 2), {"note": "x", "other": 3})


def test_calls_are_told_in_the_order_in_which_they_began(env: WorkflowEnvironment) -> None:
    @activity(name="a")
    async def a(x: int) -> None: ...

    @activity(name="b")
    async def b(x: int) -> None: ...

    @workflow
    async def w() -> None:
        await gather(a.run(1), b.run(2), a.run(3))
        await b.run(4)

    env.run(w)
    assert [(c.name, *c.args) for c in env.calls()] == [("a", 1), ("b", 2), ("a", 3), ("b", 4)]
    assert [call.args for call in env.calls("b")] == [(2,), (4,)]
    assert env.calls("c") == []


def test_code_of_another_language(env: WorkflowEnvironment, own_functions: Registry) -> None:
    @activity(name="paint", queue="node", retries=1)
    async def paint(color: str) -> str: ...

    @workflow(name="pack", queue="node")
    async def pack(n: int) -> int: ...

    @workflow
    async def w() -> list[Any]:
        return [await paint.run("red"), await pack.run(7)]

    for key in (("activity", "paint"), ("workflow", "pack")):
        del own_functions._functions[key]  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(Stuck, match="'paint'"):
        env.run(w)

    def painted(color: str) -> str:
        return f"{color} paint"

    env.replace("paint", painted)
    with pytest.raises(Stuck, match="'pack'"):
        env.run(w)
    env.replace("pack", returns=8)
    assert env.run(w) == ["red paint", 8]
    assert env.calls("paint")[-1].args == ("red",)
    assert env.calls("pack")[-1].args == (7,)


def test_child_workflows(env: WorkflowEnvironment) -> None:
    @workflow
    async def child(x: int) -> int:
        raise AssertionError

    @workflow
    async def w() -> list[Any]:
        found: list[Any] = []
        for x in range(4):
            try:
                found.append(await child.run(x))
            except ChildFailed as error:
                found.append(f"{error.type} {error.message}")
        return found

    env.replace(child, outcomes=[10, Busy("child"), 30], takes="1d")
    assert env.run(w) == [10, "Busy child", 30, 30]
    assert env.elapsed == timedelta(days=4)
    calls = env.calls(child)
    assert [call.args for call in calls] == [(0,), (1,), (2,), (3,)]
    assert [call.status for call in calls] == ["completed", "failed", "completed", "completed"]
    assert [call.result for call in calls] == [10, None, 30, 30]
    assert str(calls[1].errors[0]) == "Busy: child"


def test_a_workflow_in_place_of_a_workflow(env: WorkflowEnvironment) -> None:
    @workflow
    async def child(x: int) -> str:
        raise AssertionError

    @workflow
    async def w() -> str:
        return await child.run(1)

    async def by_signal(x: int) -> str:
        return f"{x} {await wait_for_signal('word')}"

    env.replace(child, by_signal)
    handle = env.start(w)
    env.skip()
    handle.child(child).signal("word", "yes")
    assert handle.result() == "1 yes"
    env.replace(child, by=lambda x: f"{x} at once")
    assert env.run(w) == "1 at once"


def test_what_is_no_json_fails_as_in_production(env: WorkflowEnvironment, charge: Charge) -> None:
    @workflow
    async def w() -> None:
        await charge.run("4242", 1)

    env.replace("charge", returns=None)
    env.replace(charge.name, returns={1, 2})
    with pytest.raises(ExecutionFailed, match="PayloadError"):
        env.run(w)


def test_a_timeout_of_a_call_is_told_from_its_failure(env: WorkflowEnvironment) -> None:
    @activity(total_timeout="1m", timeout="20s", retries=100, initial="1s", factor=1)
    async def a() -> None: ...

    @workflow
    async def w() -> str:
        try:
            await a.run()
        except ActivityTimeout as error:
            return f"{error.type} {error.attempts}"
        return ""

    env.replace(a, takes="1h")
    assert env.run(w) == "ExecutionTimeout 3"
    assert env.elapsed == timedelta(minutes=1)


def test_mistakes_are_told(env: WorkflowEnvironment, charge: Charge) -> None:
    replace: Any = env.replace
    with pytest.raises(TypeError, match="one of"):
        replace(charge, returns=1, raises=Busy)
    with pytest.raises(TypeError, match="one of"):
        replace(charge, lambda: None, returns=1)
    with pytest.raises(TypeError, match="raises="):
        replace(charge, raises="Busy")
    with pytest.raises(ValueError, match="outcomes="):
        replace(charge, outcomes=[])


def test_replacements_are_typed(env: WorkflowEnvironment, charge: Charge) -> None:
    """Pyright has to refuse these; nothing has to when it runs."""
    env.replace(charge, returns=1)  # pyright: ignore[reportCallIssue, reportArgumentType]
    env.replace(charge, outcomes=[1])  # pyright: ignore[reportCallIssue, reportArgumentType]
    env.replace(charge, len)  # pyright: ignore[reportCallIssue, reportArgumentType]
