"""Signals and waits: S1 to S13, and the cancelling of a workflow, C5 and C6."""

import asyncio
from dataclasses import dataclass

import pytest
import workflows._functions as functions
from workflows._combinators import race, shield
from workflows._errors import SignalTimeout
from workflows._functions import activity, workflow
from workflows._registry import Registry
from workflows._workflow import sleep, wait_for_signal

from .story import Story


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "registry", Registry())


@pytest.fixture(params=[True, False], ids=["cold", "warm"])
def cold(request: pytest.FixtureRequest) -> bool:
    return request.param


@activity(name="s.a")
async def a(x: int = 0) -> int: ...


@activity(name="undo")
async def undo(x: int = 0) -> int: ...


def test_a_signal_sent_before_the_start_is_returned_by_the_first_wait(cold: bool) -> None:  # S1
    @workflow
    async def w() -> int:
        return await wait_for_signal("s", int)

    story = Story(w, cold=cold, start=False).signal("s", 5)
    assert story.types[:2] == ["signal_received", "started"]
    assert story.result == 5


def test_three_signals_meet_three_waits_in_order_also_after_a_crash(cold: bool) -> None:  # S3
    @workflow
    async def w() -> list[int]:
        found = [await wait_for_signal("s", int) for _ in range(3)]
        await a.run()
        return found

    story = (
        Story(w, cold=cold).signal("s", 1).crash().signal("s", 2).signal("s", 3).crash().complete(1)
    )
    assert story.result == [1, 2, 3]
    story.check_prefixes()


def test_a_signal_of_another_name_stays_for_a_later_wait(cold: bool) -> None:  # S4
    @workflow
    async def w() -> str:
        return await wait_for_signal("b", str) + await wait_for_signal("a", str)

    assert Story(w, cold=cold).signal("a", "1").signal("b", "2").result == "21"


def test_waits_take_signals_in_the_order_in_which_they_were_called() -> None:
    @workflow
    async def w() -> list[int]:
        first, second = wait_for_signal("s", int), wait_for_signal("s", int)
        return [await second, await first]

    assert Story(w).signal("s", 1).signal("s", 2).result == [2, 1]


def test_a_wait_that_was_cancelled_takes_no_signal(cold: bool) -> None:
    @workflow
    async def w() -> int:
        name, _ = await race(signal=wait_for_signal("s", int), timer=sleep(1))
        assert name == "timer"
        return await wait_for_signal("s", int)

    assert Story(w, cold=cold).later(2).signal("s", 3).result == 3


def test_a_wait_times_out_with_an_error_that_can_be_caught(cold: bool) -> None:  # S6
    @workflow
    async def w() -> str:
        try:
            await wait_for_signal("x", timeout=1)
        except SignalTimeout as error:
            return error.name
        return ""

    assert Story(w, cold=cold).later(2).result == "x"


def test_a_recorded_timeout_stays_one_when_a_late_signal_is_replayed() -> None:  # S7
    @workflow
    async def w() -> list[str]:
        found: list[str] = []
        try:
            await wait_for_signal("x", timeout=1)
        except SignalTimeout:
            found.append("timeout")
        await a.run()
        return [*found, await wait_for_signal("x", str)]

    story = Story(w).later(2).signal("x", "late").complete(2)
    assert story.result == ["timeout", "late"]
    story.check_prefixes()


def test_a_signal_in_time_cancels_the_timer_once(cold: bool) -> None:
    @workflow
    async def w() -> int:
        found = await wait_for_signal("x", int, timeout=60)
        await a.run()
        return found

    story = Story(w, cold=cold).signal("x", 1).crash().complete(2)
    assert story.result == 1
    assert sorted(c["type"] for c in story.commands) == ["cancel", "schedule", "start_timer"]


def test_a_signal_while_an_activity_is_awaited_does_not_issue_it_again(cold: bool) -> None:  # S13
    @workflow
    async def w() -> int:
        return await a.run() + await wait_for_signal("s", int)

    story = Story(w, cold=cold).signal("s", 1).complete(1, 2)
    assert story.result == 3
    assert len(story.commands) == 1


def test_a_payload_is_rebuilt_by_its_type() -> None:
    @dataclass
    class Approval:
        by: str

    @workflow
    async def w() -> str:
        return (await wait_for_signal("ok", Approval)).by

    assert Story(w).signal("ok", {"by": "ann"}).result == "ann"


# --- cancel ---


def test_a_cancel_ends_a_waiting_workflow(cold: bool) -> None:  # C1
    @workflow
    async def w() -> None:
        await sleep(3600)

    story = Story(w, cold=cold).cancel()
    assert story.status == "cancelled"
    assert story.error["type"] == "CancelledError"


def test_compensations_run_once_and_in_order_and_the_workflow_ends_cancelled(
    cold: bool,
) -> None:  # C6
    @workflow
    async def w() -> str:
        try:
            await a.run(1)
            await a.run(2)
        except asyncio.CancelledError:
            await undo.run(1)
            async with asyncio.timeout(60):
                await undo.run(2)
        return "swallowed"

    story = Story(w, cold=cold).complete(1).cancel()
    assert story.child(2).status == "cancelled"
    story.complete(3).crash()
    story.complete(5)
    assert story.status == "cancelled"
    assert [c["execution"]["name"] for c in story.commands if c["type"] == "schedule"] == [
        "s.a",
        "s.a",
        "undo",
        "undo",
    ]


def test_a_cancel_is_delivered_once_even_to_a_task_group() -> None:
    @workflow
    async def w() -> None:
        try:
            await sleep(60)
        except asyncio.CancelledError:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(undo.run(1))
            except* Exception:
                pass
            await undo.run(2)

    story = Story(w).cancel().fail(2)
    assert story.child(3).args == [2], "the wait after the failed group is not cancelled"
    assert story.complete(3).status == "cancelled"


def test_a_shielded_wait_goes_on(cold: bool) -> None:
    @workflow
    async def w() -> int:
        call = a.run()
        try:
            return await shield(call)
        except asyncio.CancelledError:
            return await call

    story = Story(w, cold=cold).cancel()
    assert story.child(1).status == "pending", "what is shielded is not cancelled"
    assert story.complete(1, 4).status == "cancelled"


def test_a_cancel_that_comes_with_the_end_is_cancelled() -> None:  # C5
    @workflow
    async def w() -> int:
        return await a.run()

    story = Story(w)
    story.engine.end(story.child(1), "completed", result=1)
    story.stop(story.row)
    assert story.go().status == "cancelled"
