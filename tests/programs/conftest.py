from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

sys.path.insert(0, str(HERE.parent / "crash"))
sys.path.insert(0, str(HERE))


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """The given PostgreSQL, or an embedded one of the test's own."""
    return os.environ.get("WORKFLOWS_TEST_DATABASE_URL") or f"embedded:{tmp_path / 'postgres'}"
