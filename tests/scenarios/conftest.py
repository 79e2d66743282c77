from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scenario_replays import Replays
from scenario_session import Pair, Session


@pytest.fixture(scope="session")
def scenarios(
    request: pytest.FixtureRequest, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    """All scenarios that tests ask for, each in each way, driven at once."""
    pairs: dict[Pair, None] = {}
    for item in request.session.items:
        params = cast("dict[str, str]", getattr(getattr(item, "callspec", None), "params", {}))
        if {"name", "way"} <= params.keys():
            pairs[params["name"], params["way"]] = None
    with Session(database_url, tmp_path_factory.mktemp("scenarios"), list(pairs)) as session:
        yield session
    session.check_logs()


@pytest.fixture(scope="session")
def replays(scenarios: Session) -> Replays:
    """The recorded histories, replayed by each language's command."""
    return Replays(scenarios)
