"""What `make install` leaves is enough to build and run a C program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from abi_host import ROOT

TOOLS = ("make", "pkg-config", "cc")


@pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS),
    reason="building against an installed library takes make, pkg-config and a C compiler",
)
def test_the_example_builds_and_runs_against_an_installed_library(
    tmp_path: Path, config: bytes
) -> None:
    prefix = tmp_path / "prefix"
    run("make", "-C", str(ROOT), "install", f"PREFIX={prefix}")
    example = tmp_path / "example"
    shutil.copytree(ROOT / "examples" / "c", example)
    run("make", "-C", str(example), PKG_CONFIG_PATH=str(prefix / "lib" / "pkgconfig"))
    settings = json.loads(config)
    said = run(
        str(example / "quickstart"),
        WORKFLOWS_DATABASE_URL=settings["database_url"],
        WORKFLOWS_SCHEMA=settings["schema"] + "_c",
        WORKFLOWS_POSTGRES_BIN=":".join(settings["postgres_binaries"]),
    )
    assert "completed" in said


def run(*command: str, **environment: str) -> str:
    """Run a command to its end, and show what it said if it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
