"""The engine in memory behaves as the library does: the same scenarios in both worlds.

A scenario talks to an engine as an adapter would. What it observes, and what can be
seen of all executions afterwards, has to be the same on PostgreSQL and in memory.
"""

from __future__ import annotations

import pytest
from workflows._engine import Engine
from workflows._operations import Operation

from . import contract_jobs, contract_later, contract_workflows
from .contract_worlds import LATER, SCENARIOS, Library, Memory, Scenario, World


def of(module: object) -> list[Scenario]:
    return [play for play in SCENARIOS if play.__module__ == vars(module)["__name__"]]


def named(plays: list[Scenario]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("play", plays, ids=[play.__name__ for play in plays])


async def compare(play: Scenario, database: str) -> None:
    worlds = World(Memory()), World(Library(Engine.shared(database)))
    told: list[object] = []
    for world in worlds:
        told.append([await play(world), await world.story()])
        if world.worker_id:
            await world.call(Operation.STOP_WORKER, worker_id=world.worker_id)
    assert told[0] == told[1]


@named(of(contract_jobs) + of(contract_workflows))
async def test_memory_and_library_agree(play: Scenario, database: str) -> None:
    await compare(play, database)


@named(of(contract_later))
async def test_memory_is_ahead_of_the_library(
    play: Scenario, database: str, request: pytest.FixtureRequest
) -> None:
    """Delete what is in LATER once the library has it; these then fail to remind of it."""
    await play(World(Memory()))
    if reason := LATER.get(play.__name__):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    await compare(play, database)
