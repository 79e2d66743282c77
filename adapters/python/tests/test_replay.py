"""Replay and determinism: R1 to R16 of the behaviours."""

import asyncio
import uuid
from typing import Any

import pytest
import workflows._functions as functions
from workflows._combinators import gather
from workflows._functions import activity, job, step, workflow
from workflows._outcomes import ActivityError, ChildError, ChildFailed, StepError
from workflows._registry import Registry
from workflows._replay import Replay
from workflows._workflow import (
    is_replaying,
    send_signal,
    set_state,
    sleep,
    wait_for_signal,
)

from .story import Story


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "registry", Registry())
    return


@pytest.fixture(params=[True, False], ids=["cold", "warm"])
def cold(request: pytest.FixtureRequest) -> bool:
    return request.param


@activity(name="a")
async def a(x: int = 0) -> int: ...


@activity(name="b")
async def b(x: int = 0) -> int: ...


@workflow(name="child")
async def child(x: int) -> int: ...


@job(name="j", queue="jobs")
async def j(x: int) -> int: ...


def test_a_workflow_without_waits_completes_in_its_first_activation(cold: bool) -> None:
    @workflow
    async def w(x: int) -> int:
        return x + 1

    assert Story(w, 41, cold=cold).result == 42


def test_a_workflow_written_as_a_plain_function_works_too() -> None:
    @workflow
    def w(x: int) -> int:
        return x + 1

    assert Story(w, 41).result == 42


def test_awaited_activities_run_one_after_another(cold: bool) -> None:
    @workflow
    async def w() -> list[int]:
        return [await a.run(n) for n in range(5)]

    story = Story(w, cold=cold)
    for sequence in range(1, 6):
        assert story.status == "suspended"
        assert story.child(sequence).args == [sequence - 1]
        story.crash().complete(sequence, sequence * 10)
    assert story.result == [10, 20, 30, 40, 50]
    assert len(story.commands) == 5, "no command is given twice"  # R1
    story.check_prefixes()


def test_an_activity_inherits_the_queue_of_its_workflow_unless_it_has_one() -> None:
    @workflow(queue="orders")
    async def w() -> None:
        await gather(a.run(), j.run(1), a.options(queue="slow").run())

    commands = Story(w).commands
    assert [c["execution"]["queue"] for c in commands] == ["orders", "jobs", "slow"]
    assert [c["execution"]["kind"] for c in commands] == ["activity", "job", "activity"]


def test_arguments_are_kept_as_they_were_at_the_call() -> None:
    @activity
    async def total(xs: list[int]) -> int: ...

    @workflow
    async def w() -> None:
        xs = [1]
        call = total.run(xs)
        xs.append(2)
        await call

    assert Story(w).commands[0]["execution"]["args"] == [[1]]


def test_swapped_activities_park_the_workflow_and_the_old_code_lets_it_finish() -> None:  # R2
    async def old() -> int:
        return await a.run() + await b.run()

    async def new() -> int:
        return await b.run() + await a.run()

    before, after = workflow(name="w1")(old), workflow(name="w2")(new)
    story = Story(before).complete(1, 1)
    commands = len(story.commands)
    story.deploy(after).complete(2, 2)
    assert story.status == "suspended"
    assert story.row.released == "non_determinism"
    message = story.row.parked or ""
    assert "position 2" in message
    assert "the activity 'a'" in message
    assert "the activity 'b'" in message
    assert "get_version" in message
    assert len(story.commands) == commands, "nothing new is scheduled"
    assert story.resume(before).result == 3


def test_another_kind_under_the_same_name_is_non_determinism() -> None:  # R3
    @workflow(name="w1")
    async def old() -> None:
        await sleep(5)

    @activity(name="sleep")
    async def not_a_timer() -> None: ...

    @workflow(name="w2")
    async def new() -> None:
        await not_a_timer.run()

    story = Story(old).deploy(new).later(6)
    assert "the timer 'sleep'" in (story.row.parked or "")
    assert "the activity 'sleep'" in (story.row.parked or "")


def test_code_that_ends_before_its_history_does_is_parked() -> None:  # R4
    @workflow(name="w1")
    async def old() -> None:
        await a.run()
        await b.run()

    @workflow(name="w2")
    async def new() -> None:
        await a.run()

    story = Story(old).complete(1).deploy(new).complete(2)
    assert story.row.released == "non_determinism"
    assert "nothing, it ended" in (story.row.parked or "")


def test_code_that_waits_where_history_went_on_is_parked() -> None:  # R4
    @workflow(name="w1")
    async def old() -> None:
        await gather(a.run(), b.run())

    @workflow(name="w2")
    async def new() -> None:
        await a.run()
        await b.run()

    story = Story(old).deploy(new).complete(2)
    assert "nothing, it waits" in (story.row.parked or "")
    assert "the activity 'b'" in (story.row.parked or "")


def test_user_code_is_not_told_of_non_determinism() -> None:
    ran: list[str] = []

    @workflow(name="w1")
    async def old() -> None:
        await a.run()

    @workflow(name="w2")
    async def new() -> None:
        try:
            await b.run()
        except BaseException:
            ran.append("except")
            raise
        finally:
            ran.append("finally")

    assert Story(old).deploy(new).complete(1).row.parked
    assert ran == []


def test_an_activity_that_is_never_awaited_does_not_keep_the_workflow(cold: bool) -> None:  # R16
    @workflow
    async def w() -> str:
        _ = a.run()
        return "done"

    story = Story(w, cold=cold)
    assert story.result == "done"
    assert story.child(1).status == "cancelled"


def test_a_failed_activity_is_raised_at_the_await(cold: bool) -> None:  # C8
    @workflow
    async def w() -> str:
        try:
            await a.run()
        except ActivityError as error:
            return f"{error.type} {error.message} {error.attempts}"
        return ""

    assert (
        Story(w, cold=cold).fail(1, "CardDeclined", "no funds", attempts=3).result
        == "CardDeclined no funds 3"
    )


def test_an_uncaught_failure_has_its_cause_and_its_sequence() -> None:
    @workflow
    async def w() -> None:
        await b.run()
        try:
            await a.run()
        except ActivityError as error:
            raise RuntimeError("order failed") from error

    story = Story(w).complete(1).fail(2, "CardDeclined", "no funds")
    assert story.error["type"] == "RuntimeError"
    assert story.error["cause"]["cause"]["type"] == "CardDeclined"
    assert story.error["sequence"] == 2


def test_a_child_reports_its_end_as_its_own_kind_of_error(cold: bool) -> None:
    @workflow
    async def w() -> int:
        try:
            return await child.run(1)
        except ChildFailed as error:
            return len(error.message)

    assert Story(w, cold=cold).complete(1, 7).result == 7
    assert Story(w, cold=cold).fail(1, message="four").result == 4


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_the_error_of_a_child_names_it_and_says_why(cold: bool, how: str) -> None:
    @workflow
    async def w() -> list[str]:
        try:
            await child.run(1)
        except ChildError as error:
            return [error.id, error.message]
        return []

    story = Story(w, cold=cold)
    row = story.child(1)
    if how == "failed":
        story.fail(1, message="no funds")
    else:
        story.stop(row, "out of stock")
        story.go()
    why = {"failed": "no funds", "cancelled": f"child {child.name} was cancelled: out of stock"}
    assert story.result == [row.id, why[how]]


def test_queue_inside_a_workflow_answers_a_handle_at_once(cold: bool) -> None:
    @workflow
    async def w() -> list[Any]:
        handle = await child.options(close_policy="detach").queue(1)
        await a.run()
        return [handle.id, await handle.result()]

    story = Story(w, cold=cold)
    assert story.commands[0]["close_policy"] == "detach"
    id = story.child(1).id
    assert uuid.UUID(id).version == 7
    assert story.complete(1, 9).complete(2).result == [id, 9]


def test_a_step_runs_in_the_worker_and_its_result_comes_back_as_an_event(cold: bool) -> None:
    @step
    def double(x: int) -> int:
        return 2 * x

    @workflow
    async def w() -> int:
        first = await double.run(1)
        return await double.run(first) + await a.run()

    story = Story(w, cold=cold)
    assert len(story.steps_run) == 2
    assert story.complete(3, 1).result == 5
    assert len(story.steps_run) == 2, "a recorded step does not run again"
    story.check_prefixes()


def test_a_failed_step_raises_what_is_recorded() -> None:
    @step
    def bad() -> None:
        raise ValueError("no")

    @workflow
    async def w() -> str:
        try:
            await bad.run()
        except StepError as error:
            return error.type
        return ""

    assert Story(w).result == "ValueError"


def test_commands_go_out_before_a_step_starts() -> None:
    @step
    def s() -> int:
        return 1

    @workflow
    async def w() -> int:
        return sum(await gather(a.run(), s.run()))

    story = Story(w)
    first = story.turns[0]
    assert first.then == "keep"
    assert len(first.commands) == 1
    assert len(first.steps) == 1
    assert story.complete(1, 1).result == 2


def test_the_state_is_published_once(cold: bool) -> None:
    @workflow
    async def w() -> None:
        set_state({"at": 1})
        await a.run()
        set_state({"at": 2})
        await a.run()

    story = Story(w, cold=cold).complete(2)
    assert story.row.state == {"at": 2}
    assert story.types.count("state_set") == 2
    story.check_prefixes()


def test_a_signal_to_another_workflow_is_a_step_with_a_key_of_its_own() -> None:
    @workflow
    async def w() -> None:
        await send_signal("other", "s", 1)

    story = Story(w, start=False)
    story.step_results["workflows.send_signal"] = {"delivered": True}
    story.go()
    assert story.status == "completed"
    assert story.steps_run == ["workflows.send_signal"]
    [call] = [step.args for turn in story.turns for step in turn.steps]
    assert call == ("other", "s", 1, f"{story.row.id}:1:1")


def test_a_result_that_is_not_json_fails_the_workflow_with_its_path() -> None:  # T17
    @workflow
    async def w() -> Any:
        return {"a": [1, {2}]}

    story = Story(w)
    assert story.error["type"] == "PayloadError"
    assert "result.a[1]" in story.error["message"]


def test_arguments_that_do_not_fit_fail_the_workflow() -> None:
    @workflow
    async def w(x: int) -> None: ...

    story = Story(w, 1, start=False)
    story.row.args = [1, 2, 3]
    assert story.go().error["type"] == "TypeError"


def test_arguments_that_do_not_fit_a_step_are_an_error_at_the_call() -> None:
    @step(name="s")
    async def s(x: int) -> None: ...

    @workflow
    async def w() -> str:
        try:
            s.run(1, 2)  # pyright: ignore[reportCallIssue, reportUnusedCoroutine]
        except TypeError as error:
            return str(error)
        return "taken"

    story = Story(w)
    assert story.result == "s(): too many positional arguments"
    assert not story.commands


def test_sleeps_end_on_the_clock_of_the_engine_and_zero_is_recorded(cold: bool) -> None:  # O2
    @workflow
    async def w() -> None:
        await sleep(0)
        await sleep(-5)
        await sleep("250ms")
        await asyncio.sleep(1.5)

    story = Story(w, cold=cold)
    assert [c["delay_ms"] for c in story.commands] == [0, 0, 250]
    story.later(0.3)
    assert story.commands[-1]["delay_ms"] == 1500
    assert story.later(2).status == "completed"
    assert story.types.count("timer_fired") == 4
    story.check_prefixes()


def test_an_event_that_came_while_nobody_held_the_workflow_is_no_replay() -> None:
    """R12: also when the whole history comes with it, as to a worker without a warm copy."""
    told: list[bool] = []

    @workflow
    async def w() -> None:
        await wait_for_signal("a")
        told.append(is_replaying())
        await wait_for_signal("b")
        told.append(is_replaying())

    at = "2026-01-01T00:00:00+00:00"
    events = [
        {"position": 1, "at": at, "type": "started"},
        {"position": 2, "at": at, "type": "signal_received", "name": "a"},
        {"position": 3, "at": at, "type": "signal_received", "name": "b"},
    ]
    about = {"id": "018f0000-0000-7000-8000-000000000001", "run": 1, "name": "w"}
    for seen, expected in ((0, [True, False]), (1, [False, False]), (2, [True, False])):
        told.clear()
        replay = Replay({**about, "seen": seen}, w)
        replay.feed(events)
        replay.discard()
        assert told == expected, seen
