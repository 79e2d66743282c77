"""The proof that workflow code is deterministic, and histories that are replayed."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import workflows
from workflows import (
    NonDeterminismError,
    activity,
    continue_as_new,
    gather,
    get_version,
    is_replaying,
    now,
    set_state,
    sleep,
    step,
    uuid4,
    wait_for_signal,
    workflow,
)
from workflows._registry import Registry
from workflows.testing import Stuck, WorkflowEnvironment, replay
from workflows.testing._proof import lengths

counter = itertools.count()


@pytest.fixture
def a(own_functions: Registry) -> Any:
    @activity(name="a")
    async def a(x: Any = None) -> Any:
        return x

    return a


async def test_every_prefix_of_a_complicated_workflow_is_proven(
    env: WorkflowEnvironment, a: Any
) -> None:
    @step
    async def s(x: int) -> int:
        return x

    @workflow
    async def child(x: int) -> int:
        return await a.run(x)

    @workflow
    async def w() -> list[Any]:
        found: list[Any] = [str(uuid4()), workflows.random(), now().isoformat()]
        calls: list[Any] = [a.run({"list": [1]}), s.run(2), child.run(3), sleep(60)]
        found += await gather(*calls)
        found[3]["list"].append(2)  # what it got is its own
        set_state(found)
        async with workflows.timeout("1h"):
            found.append(await wait_for_signal("word"))
        found.append(get_version("change", 1, 2))
        found.append(is_replaying() and False)
        return found[1:]

    handle = env.start(w)
    handle.signal("word", ["x"], after="30m")
    result = await handle
    assert result[2:] == [{"list": [1, 2]}, 2, 3, None, ["x"], 2, False]


CARELESS: dict[str, Callable[[Any], Any]] = {
    "other arguments": lambda a: a.run(next(counter)),
    "another name": lambda a: workflows.sleep(1) if next(counter) % 2 else a.run(),
    "another delay": lambda a: workflows.sleep(next(counter) + 1),
    "another state": lambda a: _state_of(next(counter)),
    "another step": lambda a: _steps[next(counter) % 2].run(),
}


async def _state_of(n: int) -> None:
    set_state(n)


_steps: list[Any] = []


@pytest.mark.parametrize("what", CARELESS)
def test_code_that_asks_for_something_else_is_found_out(
    own_functions: Registry, a: Any, what: str
) -> None:
    @step(name="one")
    async def one() -> None: ...

    @step(name="two")
    async def two() -> None: ...

    _steps[:] = [one, two]

    @workflow(name="careless")
    async def careless() -> None:
        await CARELESS[what](a)

    with WorkflowEnvironment(functions=own_functions) as env:
        for _ in range(2):
            with pytest.raises(NonDeterminismError, match="careless"):
                env.executions(careless)[0].result() if env.executions() else env.run(careless)


@pytest.mark.workflow_environment(cold=False)
def test_the_error_says_what_was_and_what_is(env: WorkflowEnvironment, a: Any) -> None:
    numbers = itertools.count()

    @workflow(name="careless")
    async def careless() -> None:
        await a.run(next(numbers))

    with pytest.raises(NonDeterminismError) as found:
        env.run(careless)
    error = found.value
    assert "workflow 'careless' is not deterministic" in str(error)
    assert error.recorded == "the activity 'a' args=[0]"
    assert error.attempted == "the activity 'a' args=[1]"
    assert error.position == 1


def test_a_history_that_was_continued_says_what_it_began_with(
    env: WorkflowEnvironment, a: Any
) -> None:
    @workflow(name="w")
    async def w(n: int) -> int:
        await a.run(n)
        if n < 3:
            continue_as_new(n + 1)
        return n

    handle = env.start(w, 1)
    assert handle.result() == 3
    for run in (1, 2, 3):
        told = {"execution": handle.execution(), "run": run, "events": handle.history(run)}
        following = replay(told, w)
        assert (following.args or following.result) == ([run + 1] if run < 3 else 3)


@pytest.mark.parametrize("end", ["result", "failure", "continue", "wait"])
def test_code_that_ends_otherwise_is_found_out(env: WorkflowEnvironment, a: Any, end: str) -> None:
    numbers = itertools.count()

    @workflow
    async def careless(n: int) -> Any:
        await a.run()
        number = next(numbers)
        if end == "result":
            return number
        if end == "failure":
            raise (KeyError if number else ValueError)
        if end == "continue" and n < 3:
            continue_as_new(n + 1 + number)
        if end == "wait" and number:
            await wait_for_signal("never")
        return None

    with pytest.raises(NonDeterminismError) as found:
        env.run(careless, 0)
    assert found.value.recorded != found.value.attempted


def test_the_proof_can_be_left_out(own_functions: Registry, a: Any) -> None:
    @workflow
    async def careless() -> None:
        await a.run(next(counter))

    with WorkflowEnvironment(functions=own_functions, prove="never") as env:
        assert env.run(careless) is None


def test_what_nobody_asked_for_is_proven_at_the_end(own_functions: Registry, a: Any) -> None:
    @workflow
    async def careless() -> None:
        await a.run(next(counter))
        await wait_for_signal("never")

    environment = WorkflowEnvironment(functions=own_functions)
    environment.start(careless)
    environment.skip()
    with pytest.raises(NonDeterminismError):
        environment.close()


def test_the_proof_does_not_hide_another_error(own_functions: Registry, a: Any) -> None:
    @workflow
    async def careless() -> None:
        await a.run(next(counter))
        await wait_for_signal("never")

    def test() -> None:
        with WorkflowEnvironment(functions=own_functions) as env:
            env.start(careless)
            env.skip()
            raise LookupError("the test's own")

    with pytest.raises(LookupError):
        test()


def test_which_prefixes_are_replayed() -> None:
    assert list(lengths(200, "sample")) == list(range(1, 201))
    for total in (201, 2001, 50_000):
        chosen = lengths(total, "sample")
        assert sum(chosen) <= 20_000 + total * 2
        assert chosen[-1] == total
        assert len(chosen) >= 2
        assert lengths(total, "every")[:3] == [1, 2, 3]
    assert lengths(0, "every") == lengths(10, "never") == ()


# --- cold resumes, and code that changes --------------------------------------------------


@pytest.mark.parametrize("cold", [False, True])
def test_cold_resumes_come_to_the_same(own_functions: Registry, a: Any, cold: bool) -> None:
    lives: list[int] = []

    @workflow
    async def w() -> list[Any]:
        lives.append(1)
        found = [await a.run(n) for n in range(3)]
        return [*found, await wait_for_signal("s"), workflows.random(), str(uuid4())]

    with WorkflowEnvironment(functions=own_functions, cold=cold, prove="never") as env:
        handle = env.start(w)
        handle.signal("s", 1, after="1h")
        assert handle.result()[:4] == [0, 1, 2, 1]
    assert len(lives) == (5 if cold else 1)


def test_new_code_that_does_not_fit_is_told_as_in_production(
    own_functions: Registry, a: Any
) -> None:
    @activity(name="b")
    async def b() -> None: ...

    old = True

    @workflow(name="w")
    async def w() -> str:
        await (a if old else b).run()
        return str(await wait_for_signal("go"))

    with WorkflowEnvironment(functions=own_functions, cold=True, prove="never") as env:
        handle = env.start(w)
        env.skip()
        old = False
        handle.signal("go", 1)
        with pytest.raises(NonDeterminismError) as found:
            handle.result()
        assert "history recorded: the activity 'a' (sequence 1)" in str(found.value)
        assert "get_version" in str(found.value)
        assert (found.value.position, found.value.attempted) == (2, "the activity 'b'")
        assert handle.status() == "suspended"
        env.skip("1h")
        with pytest.raises(NonDeterminismError):
            handle.result()
        old = True
        assert handle.resume()["changed"]
        assert handle.result() == "1"


def test_a_workflow_that_waits_for_one_that_is_parked_is_told(
    own_functions: Registry, a: Any
) -> None:
    old = True

    @workflow
    async def child() -> None:
        await (a.run() if old else sleep(1))
        await wait_for_signal("go")

    @workflow
    async def parent() -> None:
        await child.run()

    with WorkflowEnvironment(functions=own_functions, cold=True, prove="never") as env:
        handle = env.start(parent)
        env.skip()
        old = False
        handle.child(child).signal("go")
        with pytest.raises(NonDeterminismError, match="the timer 'sleep'"):
            handle.result()


# --- histories that were stored -----------------------------------------------------------


def test_a_stored_history_over_the_code_of_today(env: WorkflowEnvironment, a: Any) -> None:
    @workflow(name="w")
    async def w(x: int, *, note: str = "") -> list[Any]:
        number = workflows.random()
        await a.run(x)
        await sleep("1h")
        return [note, number, await wait_for_signal("go")]

    handle = env.start(w, 1, note="n")
    env.skip("2h")
    waiting = handle.history()
    handle.signal("go", 7)
    result = handle.result()
    arguments: dict[str, Any] = {"args": [1], "kwargs": {"note": "n"}, "id": handle.id}

    following = replay(waiting, w, **arguments)
    assert (following.then, following.signals, following.commands) == ("suspend", ("go",), [])
    ended = replay({"run": 1, "events": handle.history()}, w, **arguments)
    assert (ended.then, ended.result) == ("complete", result)
    printed = {"execution": handle.execution(), "run": 1, "events": waiting}
    assert replay(printed, w).signals == ("go",), "it says what it was started with"
    assert replay({**printed, "events": handle.history()}, w).result == result
    text = json.dumps({"run": 1, "events": waiting[:3]})
    for stored in (text, text.encode()):
        following = replay(stored, w, **arguments)
        [command] = following.commands
        assert (command["type"], command["delay_ms"]) == ("start_timer", 3_600_000)
    assert replay(waiting[:2], w, [1]).then == "suspend"

    @workflow(name="changed")
    async def changed(x: int, *, note: str = "") -> None:
        await sleep("1h")

    with pytest.raises(NonDeterminismError) as found:
        replay(waiting, changed, **arguments)
    assert "history recorded: the activity 'a' (sequence 1)" in str(found.value)
    with pytest.raises(TypeError, match=r"w\(\)"):
        replay(waiting, w, [1, 2, 3])
    with pytest.raises(ValueError, match="events"):
        replay({}, w)


def test_what_follows_a_stored_history(own_functions: Registry, a: Any) -> None:
    @step(name="s")
    async def s() -> None: ...

    @workflow(name="w")
    async def w(how: str) -> None:
        if how == "steps":
            await gather(s.run(), a.run())
        if how == "fails":
            raise KeyError("x")
        continue_as_new("again")

    started = [{"position": 1, "type": "started", "at": "2026-01-01T00:00:00Z"}]
    steps, fails, onward = (replay(started, w, [how]) for how in ("steps", "fails", "on"))
    assert (steps.then, steps.steps, len(steps.commands)) == ("keep", ("s",), 1)
    assert (fails.then, (fails.error or {})["type"]) == ("fail", "KeyError")
    assert (onward.then, onward.args, onward.kwargs) == ("continue", ["again"], {})


async def test_histories_are_replayed_in_async_code_too(own_functions: Registry, a: Any) -> None:
    @workflow(name="w")
    async def w() -> Any:
        return await a.run(1)

    started = [{"position": 1, "type": "started", "at": "2026-01-01T00:00:00Z"}]
    assert replay(started, w).commands[0]["execution"]["name"] == "a"
    assert asyncio.current_task() is not None


# --- how fast it is -----------------------------------------------------------------------


def test_ten_activities_take_milliseconds_with_the_proof(own_functions: Registry, a: Any) -> None:
    @workflow
    async def w() -> int:
        return sum([await a.run(n) for n in range(10)])

    took: list[float] = []
    for _ in range(10):
        began = time.thread_time()
        with WorkflowEnvironment(functions=own_functions) as env:
            assert env.run(w) == 45
        took.append(time.thread_time() - began)
    assert min(took) < 0.1, "it is some 10 ms; this is a busy machine's share"


def test_a_thousand_activities_take_less_than_two_seconds(own_functions: Registry, a: Any) -> None:
    @workflow
    async def w() -> int:
        return sum(await gather(*[a.run(n) for n in range(1000)]))

    began = time.thread_time()
    with WorkflowEnvironment(functions=own_functions, prove="never") as env:
        assert env.run(w) == 499_500
    assert time.thread_time() - began < 4, "it is some 0.3 s; this is a busy machine's share"
    with WorkflowEnvironment(functions=own_functions) as env:
        assert env.run(w) == 499_500
        with pytest.raises(Stuck):
            env.until(lambda: random.random() > 2)
