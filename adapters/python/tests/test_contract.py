"""The engine in memory behaves as the library does: the same scenarios in both worlds.

A scenario talks to an engine as an adapter would. What it observes, and what can be
seen of all executions afterwards, has to be the same on PostgreSQL and in memory.
"""

from __future__ import annotations

import pytest
from workflows._engine import Engine
from workflows._operations import Operation

from . import contract_jobs, contract_runs, contract_workflows
from .contract_worlds import BOUNDS, SCENARIOS, Library, Memory, Scenario, World

PARTS = (contract_jobs, contract_runs, contract_workflows)  # which make the scenarios


@pytest.mark.parametrize("play", SCENARIOS, ids=[play.__name__ for play in SCENARIOS])
async def test_memory_and_library_agree(play: Scenario, database: str) -> None:
    bound = BOUNDS.get(play.__name__, 50_000)
    library = Engine.shared(database, **({"max_history": bound} if bound < 50_000 else {}))
    told: list[object] = []
    for world in (World(Memory(bound)), World(Library(library))):
        told.append([await play(world), await world.story()])
        if world.worker_id:
            await world.call(Operation.STOP_WORKER, worker_id=world.worker_id)
    library.close()
    assert told[0] == told[1]
