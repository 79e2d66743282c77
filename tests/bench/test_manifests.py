"""Peers come pinned, from the registries that are configured where the benchmark runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from contestants import CONTESTANTS, NODE, PEERS_GO, PEERS_NODE, PEERS_PYTHON, ROOT
from reporting import pinned


def test_the_lock_names_no_registry() -> None:
    lock = (PEERS_NODE / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert "://" not in lock.replace("https://opencollective", "").replace("https://github", "")


def test_the_lock_is_of_the_manifest() -> None:
    manifest = json.loads((PEERS_NODE / "package.json").read_text())["dependencies"]
    packages = json.loads((PEERS_NODE / "package-lock.json").read_text())["packages"]
    assert packages[""]["dependencies"] == manifest
    assert {
        name: packages[f"node_modules/{name}"]["version"] for name in manifest
    } == manifest  # no ranges


@pytest.mark.parametrize(
    "path", [PEERS_PYTHON / "requirements.txt", ROOT / "bench/requirements.txt"]
)
def test_python_packages_are_pinned(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert all("==" in line for line in lines)


def test_the_report_knows_each_pinned_version() -> None:
    versions = pinned()
    for name in ("graphile-worker", "pg-boss", "absurd-sdk", "@dbos-inc/dbos-sdk"):
        assert name in versions
    for name in ("github.com/riverqueue/river", "github.com/dbos-inc/dbos-transact-golang"):
        assert versions[name].startswith("v")
    assert {"dbos (Python)", "procrastinate (Python)"} <= versions.keys()


def test_each_contestant_has_a_program() -> None:
    for contestant in CONTESTANTS:
        [*_, program] = contestant.command
        if contestant.command[0] == NODE[0] or program.endswith(".py"):
            assert Path(program).exists(), contestant.name
    for program in ("river", "dbos", "bare"):
        assert (PEERS_GO / program / "main.go").exists()
    assert len({contestant.name for contestant in CONTESTANTS}) == len(CONTESTANTS)
