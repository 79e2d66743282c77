from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import workflows._functions as decorators
from crash_here import Here
from crash_stage import Stage
from workflows._registry import Registry


@pytest.fixture
async def here(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    """Workers in this process, for functions that the test defines.

    In the end every workflow's history is replayed, and has to lead to the same end.
    """
    functions = Registry()
    monkeypatch.setattr(decorators, "registry", functions)
    async with Here(stage, functions) as here:
        yield here
        await here.check_replays()
