"""What tests/behaviours and tests/crash share: a PostgreSQL, and a stage on it for each test."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from workflows import Client
from workflows import _operations as operations

sys.path.insert(0, str(Path(__file__).parent / "crash"))

from crash_stage import BINARIES, Stage


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The given PostgreSQL, or an embedded one that the processes of this session share."""
    given = os.environ.get("WORKFLOWS_TEST_DATABASE_URL")
    if given:
        yield given
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    url = f"embedded:{shared / 'stage-postgres'}"
    keeper = Client(url, schema="keeper", postgres_binaries=BINARIES, pool_size=1)
    keeper.migrate_sync()
    yield url
    keeper.close()


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A schema of the test's own; its workers are ended with it."""
    async with staged(database_url, tmp_path) as stage:
        yield stage


@pytest.fixture
async def other_stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """Another schema in the same database."""
    (tmp_path / "other").mkdir()
    async with staged(database_url, tmp_path / "other") as stage:
        yield stage


@asynccontextmanager
async def staged(url: str, directory: Path) -> AsyncGenerator[Stage]:
    schema = f"stage_{uuid.uuid4().hex[:16]}"
    async with Client(url, schema=schema, pool_size=3) as client:
        await client.migrate()
        stage = Stage(url, schema, directory, client)
        try:
            yield stage
        finally:
            stage.clear_away()
        stage.check_logs()
        await operations.migrate(client.engine.channel(), {"direction": "down", "confirm": schema})
