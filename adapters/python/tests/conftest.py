"""What the tests of the adapter share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import workflows._functions as functions
import workflows._worker as workers
from workflows import Client
from workflows._registry import Registry
from workflows.testing import WorkflowEnvironment

from .rig import Rig, StandIn

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks of these tests."""
    config.addinivalue_line("markers", "slow: takes seconds; leave out with -m 'not slow'")


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """A worker on an engine in memory, which is stopped in the end."""
    rig = Rig(monkeypatch)
    monkeypatch.setattr(workers, "client", lambda: StandIn(rig))
    yield rig
    for worker in rig.workers:
        worker.stop()
        await worker.__aexit__(None, None, None)


@pytest.fixture
def own_functions(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry of the test's own, which the decorators fill."""
    registry = Registry()
    monkeypatch.setattr(functions, "registry", registry)
    return registry


@pytest.fixture
def env(own_functions: Registry, request: pytest.FixtureRequest) -> Iterator[WorkflowEnvironment]:
    """An environment for functions that the test makes."""
    marker: pytest.Mark | None = request.node.get_closest_marker("workflow_environment")
    options: dict[str, Any] = {} if marker is None else dict(marker.kwargs)
    with WorkflowEnvironment(functions=own_functions, **options) as env:
        yield env


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PostgreSQL of this test process's own, which starts when it is first used."""
    return f"embedded:{tmp_path_factory.mktemp('postgres')}"


@pytest.fixture(scope="session")
def database(database_url: str) -> Iterator[str]:
    """The same, running and migrated until the tests end."""
    client = Client(database_url)
    client.migrate_sync()
    yield database_url
    client.close()


@pytest.fixture
def python(tmp_path: Path) -> Run:
    """Run Python code in a process of its own, and answer how it ended."""

    def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "script.py"
        script.write_text(code)
        return run_program([sys.executable, str(script), *arguments], environment, tmp_path)

    return run


@pytest.fixture
def command_line(tmp_path: Path) -> Run:
    """Run `python -m workflows` in an empty directory, and answer how it ended."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_program([sys.executable, "-m", "workflows", *arguments], environment, tmp_path)

    return run


def run_program(
    command: list[str], environment: dict[str, str], directory: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
