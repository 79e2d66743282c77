"""How workflow code hears of a cancel: once, with its reason, and wherever it waits."""

import asyncio

import pytest
import workflows._functions as functions
from workflows._combinators import timeout
from workflows._functions import activity, workflow
from workflows._outcomes import ActivityError
from workflows._registry import Registry
from workflows._workflow import sleep

from .story import Story


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "registry", Registry())


@pytest.fixture(params=[True, False], ids=["cold", "warm"])
def cold(request: pytest.FixtureRequest) -> bool:
    return request.param


@activity(name="c.a")
async def a(x: int = 0) -> int: ...


@activity(name="c.undo")
async def undo(x: int = 0) -> int: ...


def test_the_reason_reaches_the_code_and_the_error_of_the_execution(cold: bool) -> None:
    told: list[str] = []

    @workflow
    async def w() -> None:
        try:
            await a.run()
        except asyncio.CancelledError as error:
            told.append(str(error))
            raise

    story = Story(w, cold=cold).cancel("out of stock")
    assert story.error["type"] == "CancelledError"
    assert story.error["message"] == "out of stock" == told[-1]


def test_without_a_reason_the_code_is_told_that_it_was_asked(cold: bool) -> None:
    @workflow
    async def w() -> None:
        await a.run()

    assert Story(w, cold=cold).cancel().error["message"] == "somebody asked it to stop"


def test_a_cancel_is_counted_as_in_asyncio(cold: bool) -> None:
    counted: list[int] = []

    @workflow
    async def w() -> None:
        root = asyncio.current_task()
        assert root is not None
        try:
            await a.run()
        except asyncio.CancelledError:
            counted.append(root.cancelling())
            await undo.run()
            counted.append(root.cancelling())

    assert Story(w, cold=cold).cancel().complete(2).status == "cancelled"
    assert counted[-2:] == [1, 1]


def test_a_timeout_that_has_expired_does_not_take_the_cancel_for_its_own(cold: bool) -> None:
    """The cancel comes while the block still cleans up after its timeout."""
    heard: list[str] = []

    @workflow
    async def w() -> None:
        try:
            async with timeout(1):
                try:
                    await a.run()
                finally:
                    await undo.run()
        except TimeoutError:
            heard.append("timeout")
        except asyncio.CancelledError:
            heard.append("cancel")
            raise
        await a.run()

    story = Story(w, cold=cold).later(2).cancel()
    assert story.status == "cancelled"
    assert heard[-1] == "cancel"
    assert "timeout" not in heard


def test_a_clean_up_may_have_timeouts_of_its_own(cold: bool) -> None:
    @workflow
    async def w() -> None:
        try:
            await a.run(1)
        finally:
            try:
                async with timeout(1):
                    await undo.run(1)
            except TimeoutError:
                await undo.run(2)

    story = Story(w, cold=cold).cancel().later(2)
    assert story.child(4).new["args"] == [2]
    assert story.complete(4).status == "cancelled"


@pytest.mark.parametrize("in_task", [False, True])
def test_a_group_that_is_being_aborted_does_not_swallow_the_cancel(
    cold: bool, in_task: bool
) -> None:
    """It raises its errors first; the next wait hears of the cancel."""
    heard: list[str] = []

    async def cleans_up() -> None:
        try:
            await sleep(60)
        finally:
            await undo.run(1)

    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(cleans_up())
            group.create_task(a.run())

    @workflow
    async def w() -> None:
        heard.clear()
        try:
            await (asyncio.create_task(grouped()) if in_task else grouped())
        except* ActivityError:
            heard.append("errors")
        try:
            await a.run(2)
        except asyncio.CancelledError:
            heard.append("cancel")
            raise

    story = Story(w, cold=cold).fail(1).cancel()
    assert story.status == "suspended", "the clean-up goes on"
    assert story.complete(3).status == "cancelled"
    assert heard == ["errors", "cancel"]
    assert not any(event.get("sequence") == 4 for event in story.row.events)


def test_a_group_in_a_clean_up_raises_its_errors_and_not_the_cancel_again(cold: bool) -> None:
    """From Python 3.13 on asyncio's own would."""

    @workflow
    async def w() -> None:
        try:
            await a.run()
        except asyncio.CancelledError:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(undo.run(1))
                    group.create_task(undo.run(2))
            except* ActivityError:
                await undo.run(3)

    story = Story(w, cold=cold).cancel().fail(2)
    assert story.child(4).new["args"] == [3]
    assert story.complete(4).status == "cancelled"
