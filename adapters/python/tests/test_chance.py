"""Time and chance, and whether code replays: R9 and R12 of the behaviours."""

import uuid
from typing import Any

import pytest
import workflows._functions as functions
from workflows._functions import activity, workflow
from workflows._registry import Registry
from workflows._workflow import is_replaying, now, random, uuid4, wait_for_signal

from .story import Story


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "registry", Registry())
    return


@activity(name="chance_work")
async def a() -> int: ...


def test_time_and_chance_are_the_same_on_every_replay() -> None:  # R9
    seen: list[list[Any]] = []

    @workflow
    async def w() -> None:
        mine: list[Any] = [now(), uuid4(), uuid4(), random(), random()]
        seen.append(mine)
        await a.run()
        mine += [now(), uuid4(), random()]
        await a.run()

    Story(w).complete(1).complete(2)
    assert seen[1] == seen[2]
    assert seen[1][:5] == seen[0]
    values = seen[2]
    assert len(set(map(str, values))) == len(values)
    assert values[0].tzinfo is not None
    assert values[5] > values[0]
    assert isinstance(values[1], uuid.UUID)
    assert values[1].version == 4
    assert 0 <= values[3] < 1


def test_time_and_chance_survive_a_retry() -> None:
    seen: list[Any] = []

    @workflow
    async def w() -> None:
        seen.append((uuid4(), random(), now()))
        await a.run()

    story = Story(w).fail(1)
    assert story.status == "failed"
    assert story.error["sequence"] == 1
    story.retry()
    assert story.status == "suspended", "the failed activity is asked for anew"  # O9
    assert story.complete(1, 5).status == "completed"
    assert len(set(seen)) == 1


def test_is_replaying_is_true_for_recorded_steps_and_false_from_the_first_new_one() -> None:  # R12
    seen: list[bool] = []

    @workflow
    async def w() -> None:
        for _ in range(3):
            seen.append(is_replaying())
            await a.run()

    story = Story(w)
    assert seen == [False]
    seen.clear()
    story.complete(1)
    assert seen == [True, False]
    seen.clear()
    story.complete(2)
    assert seen == [True, True, False]


def test_a_workflow_that_stays_in_memory_is_never_replaying() -> None:  # R12
    seen: list[bool] = []

    @workflow
    async def w() -> None:
        for _ in range(3):
            seen.append(is_replaying())
            await a.run()
        await wait_for_signal("s")
        seen.append(is_replaying())

    Story(w, cold=False).complete(1).complete(2).complete(3).signal("s")
    assert seen == [False] * 4
