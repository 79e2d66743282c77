"""Versions of workflow code: R6 to R8 of the behaviours."""

from typing import Any

import pytest
import workflows._functions as functions
from workflows._errors import VersionError
from workflows._functions import activity, workflow
from workflows._registry import Registry
from workflows._workflow import get_version, wait_for_signal

from .story import Story


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "registry", Registry())
    return


@pytest.fixture(params=[True, False], ids=["cold", "warm"])
def cold(request: pytest.FixtureRequest) -> bool:
    return request.param


@activity(name="v.a")
async def a(x: int = 0) -> int: ...


@activity(name="v.b")
async def b(x: int = 0) -> int: ...


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_version_of_a_point_that_was_passed_is_the_minimum(place: str) -> None:  # R6
    @workflow(name="w1")
    async def old() -> int:
        await a.run()
        await b.run()
        return 0

    @workflow(name="w2")
    async def new() -> int:
        version = get_version("c", 1, 2) if place == "before" else 0
        await a.run()
        version = version or get_version("c", 1, 2)
        await b.run()
        return version

    assert Story(old).complete(1).deploy(new).complete(2).result == 1
    fresh = Story(new).complete(1 if place == "after" else 2)
    fresh.complete(3)
    assert fresh.result == 2
    assert fresh.types.count("version_marked") == 1
    fresh.check_prefixes()


@pytest.mark.parametrize("place", ["before", "at"])
def test_a_version_of_a_point_that_was_passed_is_the_minimum_if_nothing_was_asked_for_since(
    place: str,
) -> None:
    """R6: it waits there, or has heard a signal since; a crash forgets none of that."""

    @workflow(name="w1")
    async def old() -> int:
        await a.run()
        await wait_for_signal("one")
        await wait_for_signal("two")
        return 0

    @workflow(name="w2")
    async def new() -> int:
        await a.run()
        version = get_version("c", 1, 2) if place == "before" else 0
        await wait_for_signal("one")
        version = version or get_version("c", 1, 2)
        await wait_for_signal("two")
        return version

    story = Story(old).complete(1).signal("one").deploy(new).signal("three")
    story.crash().row.suspended_by = None  # nobody knows any more what code had seen
    assert story.signal("two").result == 1
    assert story.types.count("version_marked") == 1
    fresh = Story(new, start=False).signal("one").signal("two").complete(1)
    assert fresh.result == 2
    fresh.check_prefixes()


def test_a_change_has_one_version_within_a_workflow(cold: bool) -> None:  # R7
    @workflow(name="w1")
    async def w() -> list[int]:
        found: list[int] = []
        for _ in range(3):
            found.append(get_version("c", 1, 2))
            await a.run()
        return [*found, get_version("c", 1, 2)]

    story = Story(w, cold=cold)
    for sequence in (2, 3, 4):
        story.complete(sequence)
    assert story.result == [2, 2, 2, 2]
    assert story.types.count("version_marked") == 1


def test_a_loop_that_began_with_the_old_code_stays_with_the_old_version() -> None:  # R7
    @workflow(name="w1")
    async def old() -> None:
        for _ in range(3):
            await a.run()

    @workflow(name="w2")
    async def new() -> list[int]:
        found: list[int] = []
        for _ in range(3):
            found.append(get_version("c", 1, 2))
            await a.run()
        return found

    story = Story(old).complete(1).deploy(new).complete(2).complete(3)
    assert story.result == [1, 1, 1]


def test_a_version_that_the_code_no_longer_has_is_an_error() -> None:  # R8
    def code(low: int, high: int) -> Any:
        @workflow(name=f"w{low}{high}")
        async def w() -> int:
            version = get_version("c", low, high)
            await a.run()
            return version

        return w

    story = Story(code(1, 1)).deploy(code(2, 3)).complete(2)
    assert story.status == "failed"
    assert story.error["type"] == VersionError.__name__


def test_removing_get_version_is_harmless() -> None:  # R8
    @workflow(name="w1")
    async def old() -> int:
        get_version("c", 1, 2)
        first = await a.run()
        get_version("d", 1, 2)
        return first + await b.run()

    @workflow(name="w2")
    async def new() -> int:
        return await a.run() + await b.run()

    assert Story(old).complete(2, 1).deploy(new).complete(4, 2).result == 3
