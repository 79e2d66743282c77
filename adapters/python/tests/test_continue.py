"""Continue-as-new, and signals that come with a start: what the adapter asks for."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import workflows._functions as functions
from workflows._errors import ExecutionFinished, NotDurableError
from workflows._functions import Function, activity, job, workflow
from workflows._handles import Handle
from workflows._registry import Registry
from workflows._replay import Replay, Turn
from workflows._workflow import (
    continue_as_new,
    get_state,
    set_state,
    sleep,
    wait_for_signal,
    workflow_info,
)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "registry", Registry())


AT = "2026-01-01T00:00:00+00:00"
ID = "018f0000-0000-7000-8000-000000000001"
ABOUT = {"id": ID, "root_id": ID, "run": 1, "name": "w", "queue": "default"}


def replayed(function: Function[..., Any], *events: dict[str, Any], **claimed: Any) -> Turn:
    """Runs a workflow on a history and answers what it asks for."""
    about = {**ABOUT, **claimed}
    replay = Replay(about, function)
    replay.feed([{"position": n, "at": AT, **event} for n, event in enumerate(events, 1)])
    try:
        return replay.turn()
    finally:
        replay.discard()


def signal(name: str, payload: Any) -> dict[str, Any]:
    return {"type": "signal_received", "name": name, "payload": payload}


STARTED = {"type": "started"}
CANCELLED = {"type": "cancel_requested"}


def test_it_takes_the_arguments_and_the_signals_that_nobody_took() -> None:
    @workflow
    async def w(n: int, *, limit: int = 3) -> None:
        await wait_for_signal("a")
        continue_as_new(n + 1, limit=limit)

    turn = replayed(w, signal("b", 1), STARTED, signal("a", 2), signal("a", 3), args=[1])
    assert turn.then == "continue"
    assert turn.next_run == {"args": [2], "kwargs": {"limit": 3}, "carry": [1, 4]}


def test_what_was_asked_for_before_goes_with_it() -> None:
    @workflow
    async def w() -> None:
        set_state("so far")
        continue_as_new()

    turn = replayed(w, STARTED)
    assert [command["type"] for command in turn.commands] == ["set_state"]


def test_no_except_exception_keeps_it() -> None:
    @workflow
    async def w() -> str:
        try:
            continue_as_new()
        except Exception:
            return "kept"

    assert replayed(w, STARTED).then == "continue"


def test_it_gets_out_of_tasks_and_groups() -> None:
    async def onward() -> None:
        continue_as_new(2)

    @workflow
    async def gathered(n: int) -> None:
        await asyncio.gather(onward(), sleep(5))

    @workflow
    async def grouped(n: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(onward())

    for each in (gathered, grouped):
        turn = replayed(each, STARTED, args=[1])
        assert (turn.then, turn.next_run["args"]) == ("continue", [2])


def test_beside_a_failure_in_a_group_it_is_a_failure() -> None:
    @workflow
    async def w() -> None:
        async def onward() -> None:
            continue_as_new()

        async def fails() -> None:
            raise ValueError("no")

        async with asyncio.TaskGroup() as group:
            group.create_task(onward())
            group.create_task(fails())

    turn = replayed(w, STARTED)
    assert (turn.then, (turn.error or {})["type"]) == ("fail", "BaseExceptionGroup")


def test_arguments_that_do_not_fit_are_refused_where_it_is_called() -> None:
    @workflow
    async def w(n: int) -> str:
        try:
            continue_as_new(1, 2)
        except TypeError as error:
            return str(error)

    turn = replayed(w, STARTED, args=[1])
    assert turn.then == "complete"
    assert "too many positional arguments" in turn.result


def test_history_that_goes_on_where_the_code_continues_does_not_fit() -> None:
    @workflow
    async def w() -> None:
        continue_as_new()

    more = {"type": "timer_started", "sequence": 1, "name": "sleep"}
    assert replayed(w, STARTED, more).then == "park"


def test_it_belongs_into_a_workflow() -> None:
    with pytest.raises(NotDurableError, match="only works in the code of a workflow"):
        continue_as_new()


def test_a_cancel_from_before_the_start_runs_none_of_the_code() -> None:
    ran: list[str] = []

    @workflow
    async def w() -> None:
        ran.append("began")

    turn = replayed(w, CANCELLED, STARTED)
    assert (turn.then, (turn.error or {})["type"], ran) == ("fail", "CancelledError", [])


@pytest.mark.parametrize(("length", "suggested"), [(19, False), (20, True)])
def test_a_long_history_suggests_it(length: int, suggested: bool) -> None:
    @workflow
    async def w() -> list[Any]:
        await wait_for_signal("go")
        return [workflow_info().history_length, workflow_info().continue_as_new_suggested]

    fill = [signal("other", n) for n in range(length - 2)]
    turn = replayed(w, STARTED, *fill, signal("go", 1), max_history=100)
    assert turn.result == [length, suggested]


# --- signals with a start, and states from outside ---


class FakeClient:
    def __init__(self, signaled: bool | None) -> None:
        self.signaled = signaled
        self.items: list[Any] = []

    async def create(self, items: list[Any]) -> list[Any]:
        self.items += items
        reply = {"id": "e1", "created": False}
        return [reply if self.signaled is None else {**reply, "signaled": self.signaled}]

    async def get_state(self, id: str) -> Any:
        return {"of": id}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool | None], FakeClient]:
    def made(signaled: bool | None) -> FakeClient:
        fake = FakeClient(signaled)
        monkeypatch.setattr(functions, "home", lambda: fake)
        return fake

    return made


async def test_a_signal_goes_with_the_start(client: Callable[..., FakeClient]) -> None:
    @workflow(name="cart")
    async def cart() -> None: ...

    fake = client(True)
    handle = await cart.options(idempotency_key="k", signal=("add", {"n": 1}, "once")).queue()
    assert (handle.id, handle.created) == ("e1", False)
    assert fake.items == [
        {
            "kind": "workflow",
            "name": "cart",
            "idempotency_key": "k",
            "signals": [{"name": "add", "payload": {"n": 1}, "idempotency_key": "once"}],
        }
    ]


async def test_a_signal_for_one_that_is_over_is_an_error(client: Callable[..., FakeClient]) -> None:
    @workflow(name="cart")
    async def cart() -> None: ...

    client(False)
    with pytest.raises(ExecutionFinished, match="execution e1, which is over"):
        await cart.options(idempotency_key="k", signal=("add", 1)).queue()


def test_signals_are_for_workflows_that_start() -> None:
    @job
    def j() -> None: ...

    @activity
    def a() -> None: ...

    for each in (j, a):
        with pytest.raises(TypeError, match="only workflows take signals"):
            each.options(signal=("add", 1))

    @workflow
    async def w() -> None: ...

    wrong: Any
    for wrong in ("add", ("add",), (1, 2), ("", 1), ("add", 1, 2)):
        with pytest.raises((TypeError, ValueError), match="signal="):
            w.options(signal=wrong)


async def test_the_state_is_read_through_the_handle() -> None:
    handle: Handle[None] = Handle("e1", True, FakeClient(None))  # type: ignore[arg-type]
    assert await handle.get_state() == {"of": "e1"}
    assert await handle.get_state(dict[str, str]) == {"of": "e1"}


def test_the_state_of_another_is_not_read_in_workflow_code() -> None:
    @workflow
    async def w() -> None:
        await get_state("e2")

    turn = replayed(w, STARTED)
    assert (turn.error or {})["type"] == "NotDurableError"
