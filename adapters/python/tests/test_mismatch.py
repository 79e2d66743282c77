"""What somebody is told whose code does not fit a history."""

import pytest
import workflows._functions as functions
from workflows._combinators import gather
from workflows._functions import activity, workflow
from workflows._registry import Registry
from workflows._workflow import set_state, sleep, wait_for_signal

from .story import Story


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "registry", Registry())


@activity(name="reserve")
async def reserve() -> None: ...


@activity(name="charge")
async def charge() -> None: ...


@activity(name="ship")
async def ship() -> None: ...


async def begun() -> None:
    await reserve.run()
    set_state("reserved")


def parked(new: Story) -> str:
    assert new.row.released == "non_determinism"
    return new.row.parked or ""


def recorded() -> Story:
    """A history of reserve, set_state, charge, ship, sleep."""

    @workflow(name="order")
    async def order() -> None:
        await begun()
        await charge.run()
        await gather(ship.run(), sleep(60))

    return Story(order).complete(1).complete(3)


def test_both_sides_are_shown_with_what_fitted_and_what_follows() -> None:
    @workflow(name="new")
    async def swapped() -> None:
        await begun()
        await ship.run()
        await charge.run()

    told = parked(recorded().deploy(swapped).complete(4))
    first, was, attempted, *table = told.splitlines()
    assert first == "the code of workflow 'order' does not fit its history, at position 5."
    assert was == "  at position 5 history recorded: the activity 'charge' (sequence 3)"
    assert attempted.startswith("  at that point the code attempted: the activity 'ship' at ")
    assert "test_mismatch.py:" in attempted
    assert table[1:7] == [
        "   position  history recorded        the code attempted",
        "          2  the activity 'reserve'  the same",
        "          4  set_state               the same",
        "       -> 5  the activity 'charge'   the activity 'ship'",
        "          7  the activity 'ship'",
        "          8  the timer 'sleep'",
    ]


def test_it_says_what_to_do_with_which_workflow() -> None:
    @workflow(name="new")
    async def other() -> None:
        await ship.run()

    story = recorded().deploy(other).complete(4)
    told = parked(story)
    assert "workflows.get_version()" in told
    assert f"workflows retry {story.row.id}\n" in told
    assert f"workflows replay -m MODULE --id {story.row.id}" in told


def test_code_that_waits_is_shown_where_it_waits() -> None:
    @workflow(name="new")
    async def waits() -> None:
        await begun()
        await wait_for_signal("go")

    told = parked(recorded().deploy(waits).complete(4))
    assert "the code attempted: nothing, it waits at " in told
    assert "test_mismatch.py:" in told
    assert "-> 5  the activity 'charge'   nothing, it waits\n" in told


def test_it_is_short_however_long_the_names_are() -> None:
    @activity(name="ä" * 120)
    async def long() -> None: ...

    @workflow(name="w" * 250)
    async def old() -> None:
        for _ in range(3):
            await long.run()
        await gather(long.run(), long.run(), long.run())

    @workflow(name="new")
    async def new() -> None:
        for _ in range(3):
            await long.run()
        await ship.run()

    told = parked(Story(old).complete(1).complete(2).complete(3).deploy(new).complete(4))
    assert len(told.encode()) < 2000
    assert max(map(len, told.splitlines())) < 200
