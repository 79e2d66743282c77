"""The decorators: options, names, types, and calling a function plainly."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import workflows._functions as functions
from workflows._client import Client
from workflows._errors import InvalidDuration, NotDurableError, PayloadError
from workflows._functions import (
    AsyncFunction,
    SyncFunction,
    activity,
    job,
    step,
    workflow,
)
from workflows._registry import Registry
from workflows._workflow import (
    get_version,
    is_replaying,
    now,
    random,
    sleep,
    uuid4,
    wait_for_signal,
)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = Registry()
    monkeypatch.setattr(functions, "registry", registry)
    return registry


def test_a_decorator_works_bare_and_with_options(own_registry: Registry) -> None:
    @job
    def plain(x: int) -> str:
        return str(x)

    @job(queue="mail", retries=5)
    async def with_options(x: int) -> str:
        return str(x)

    assert isinstance(plain, SyncFunction)
    assert isinstance(with_options, AsyncFunction)
    assert plain(1) == "1"
    assert asyncio.run(with_options(2)) == "2"
    assert plain.name.endswith("<locals>.plain")
    assert plain.__doc__ is None
    assert own_registry.find("job", plain.name) is plain
    assert len(own_registry) == 2


def test_the_types_of_functions_reach_their_callers() -> None:
    # Checked by pyright: a wrong type below is an error of `make lint`.
    @activity(retries=2)
    async def fetch(url: str, *, depth: int = 1) -> bytes:
        return b""

    @job
    def count(words: list[str]) -> int:
        return len(words)

    async def uses() -> None:
        body: bytes = await fetch.run("u", depth=2)
        number: int = await count.options(priority=9, delay="5m").run(["a"])
        result: int = await (await count.queue(["a"])).result()
        assert body or number or result

    assert uses
    assert count(["a"]) + 1 == 2


def test_one_name_for_two_functions_is_refused_with_both_places() -> None:
    def make() -> Any:
        @job(name="same")
        def f() -> None: ...

        return f

    make()
    with pytest.raises(
        ValueError, match=r"job 'same'.*test_functions\.py:\d+ and .*test_functions\.py:\d+"
    ):
        make()


def test_one_name_for_two_kinds_is_fine() -> None:
    job(name="same")(lambda: None)
    activity(name="same")(lambda: None)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"delay": -1}, InvalidDuration),
        ({"delay": "soon"}, InvalidDuration),
        ({"queu": "x"}, TypeError),
        ({"queue": ""}, ValueError),
        ({"queue": "é" * 128}, ValueError),
        ({"queue": 5}, TypeError),
        ({"name": "other"}, TypeError),
        ({"priority": 11}, ValueError),
        ({"priority": True}, TypeError),
        ({"retries": -1}, ValueError),
        ({"retries": 1.5}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"factor": 0.5}, ValueError),
        ({"jitter": 2}, ValueError),
        ({"non_retryable": ValueError}, TypeError),
        ({"non_retryable": [int]}, TypeError),
        ({"run_at": datetime(2026, 1, 1)}, ValueError),
        ({"run_at": "tomorrow"}, TypeError),
        ({"run_at": datetime.now(UTC), "delay": 5}, ValueError),
        ({"close_policy": "keep"}, ValueError),
        ({"idempotency_key": ""}, ValueError),
    ],
)
def test_a_mistake_in_an_option_is_an_error_at_once(
    options: dict[str, Any], error: type[Exception]
) -> None:
    function = job(name="f")(lambda: None)
    with pytest.raises(error, match=next(iter(options)).split("_")[0]):
        function.options(**options)


@pytest.mark.parametrize(
    "option",
    [
        {"retries": 3},
        {"initial": "1s"},
        {"factor": 3},
        {"max": "1m"},
        {"jitter": 0.5},
        {"non_retryable": ["ValueError"]},
        {"total_timeout": "1h"},
    ],
)
def test_a_workflow_refuses_the_options_of_attempts(option: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(option))}= has no meaning for a workflow"):
        workflow(**option)


async def test_an_external_function_is_a_declaration_alone(own_registry: Registry) -> None:
    @activity(name="charge", queue="payments", external=True)
    async def charge(card: str, cents: int) -> str: ...

    @workflow(external=True)
    def ship(item: str) -> None: ...

    assert len(own_registry) == 0
    assert charge.execution(("4242", 100), {}) == {
        "kind": "activity",
        "name": "charge",
        "queue": "payments",
        "args": ["4242", 100],
    }
    with pytest.raises(TypeError, match="charge is declared external"):
        await charge("4242", 100)
    with pytest.raises(TypeError, match="declared external"):
        ship.options(priority=9)("lamp")
    with pytest.raises(TypeError, match="external= belongs into the decorator"):
        charge.options(external=False)
    with pytest.raises(TypeError, match="must be True or False"):
        activity(external=1)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b"])
def test_a_name_has_1_to_255_bytes(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        job(name=name)


def test_a_mistake_in_a_decorator_is_told_where_it_stands() -> None:
    with pytest.raises(TypeError, match="retrys"):
        job(retrys=5)  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", [job, activity, step, workflow])
def test_what_is_no_function_is_refused(kind: Callable[..., Any]) -> None:
    with pytest.raises(TypeError):
        kind("name")
    with pytest.raises(TypeError, match="generator"):

        @kind
        def numbers() -> Any:
            yield 1

    decorated = kind(name="once")(lambda: None)
    with pytest.raises(TypeError, match="already"):
        kind(decorated)


def test_queues_mean_nothing_for_a_step() -> None:
    with pytest.raises(TypeError, match="step"):
        step(queue="x")
    function = step(name="s")(lambda: None)
    with pytest.raises(TypeError, match="activity"):
        function.execution((), {})


def test_options_reach_the_wire() -> None:
    class Declined(Exception): ...

    @job(queue="mail", retries=5, timeout="30s", non_retryable=[Declined, "Other"])
    def f(a: int, b: int = 2, *, c: int = 3) -> None: ...

    other = f.options(
        delay="5m",
        priority=9,
        idempotency_key="k",
        initial=2,
        max="1m",
        factor=3,
        jitter=0,
        total_timeout="1h",
    )
    assert other.execution((1,), {"b": 5, "c": 4}) == {
        "kind": "job",
        "name": f.name,
        "queue": "mail",
        "args": [1, 5],
        "kwargs": {"c": 4},
        "delay_ms": 300_000,
        "priority": 9,
        "idempotency_key": "k",
        "attempt_timeout_ms": 30_000,
        "timeout_ms": 3_600_000,
        "retry": {
            "retries": 5,
            "initial_ms": 2000,
            "max_ms": 60_000,
            "factor": 3,
            "jitter": 0,
            "non_retryable": ["Declined", "Other"],
        },
    }
    assert "delay_ms" not in f.execution((1,), {}), "the original is left alone"


def test_the_timeout_of_a_workflow_bounds_all_of_it() -> None:
    @workflow(timeout="24h", version="2")
    async def w() -> None: ...

    request = w.execution((), {})
    assert request["timeout_ms"] == 86_400_000
    assert request["version"] == "2"
    assert "attempt_timeout_ms" not in request


def test_arguments_are_checked_at_the_call() -> None:
    @job
    def f(a: int, b: Any = None) -> None: ...

    with pytest.raises(TypeError, match=rf"{f.name}\(\): missing a required argument: 'a'"):
        f.execution((), {})
    with pytest.raises(PayloadError, match=r"args\[1\]\.x"):
        f.execution((1, {"x": object()}), {})
    assert f.execution((1,), {})["args"] == [1]


async def test_running_with_a_blocking_call_on_a_running_loop_queues_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @job
    def f() -> None: ...

    def create(*_: object) -> None:
        raise AssertionError("it was queued")

    monkeypatch.setattr(Client, "create_sync", create)
    with pytest.raises(RuntimeError, match=rf"await {f.name}\.run\(\)"):
        f.run_sync()


def test_a_call_that_is_never_awaited_is_named_by_the_warning() -> None:
    @job
    def f() -> None: ...

    for call, name in ((f.run, "run"), (f.queue, "queue")):
        with pytest.warns(RuntimeWarning, match=rf"{f.name}\.{name}' was never awaited"):
            call()  # nobody holds it, so it ends here


def test_a_step_outside_a_workflow_just_runs() -> None:
    @step
    def double(x: int) -> int:
        return 2 * x

    assert asyncio.run(double.run(4)) == 8


def test_outside_workflows_time_and_chance_are_the_ordinary_ones() -> None:
    assert abs((now() - datetime.now(UTC)).total_seconds()) < 5
    assert uuid4() != uuid4()
    assert random() != random()
    assert is_replaying() is False
    assert get_version("c", 1, 3) == 3
    asyncio.run(sleep(0))
    with pytest.raises(NotDurableError, match="wait_for_signal"):
        _ = wait_for_signal("x")
