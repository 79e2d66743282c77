"""Real runs, as short as they can be, so that the benchmark still works when it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from contestants import BENCH, BUILD, ROOT
from server import Server
from workloads import WORKLOADS

RUN = [sys.executable, str(BENCH / "run.py")]
ADAPTER = ROOT / "adapters/node"
PATIENCE = 110.0
BINARIES = Path(os.environ.get("WORKFLOWS_TEST_POSTGRES_BIN") or ROOT / ".venv/postgres/bin")


def bench(tmp_path: Path, *options: str) -> dict[str, Any]:
    output = tmp_path / "bench.json"
    environment = {**os.environ, "WORKFLOWS_POSTGRES_BIN": str(BINARIES)}
    subprocess.run(
        [*RUN, "--output", str(output), *options],
        env=environment,
        check=True,
        timeout=PATIENCE,
        stdout=subprocess.DEVNULL,
    )
    return json.loads(output.read_text())


NODE_24 = pytest.param(
    "node",
    marks=pytest.mark.skipif(
        not (ROOT / ".tools/node-24/bin/node").exists() or not (ADAPTER / "dist").exists(),
        reason="Node 24, which runs TypeScript as it is, or the built adapter is not here",
    ),
)


@pytest.mark.parametrize("name", ["sql", "c", "python", NODE_24])
def test_each_workload_of_a_contestant_is_measured(tmp_path: Path, name: str) -> None:
    for seconds in ("0.2", "1.5"):  # on a busy machine nothing may end in a fifth of a second
        options = "--rounds", "1", "--seconds", seconds, "--idle-seconds", "0.5"
        report = bench(tmp_path, "--contestants", name, *options)
        results = report["results"][name]
        if all(figures["value"] > 0 for figures in results.values()):
            break
    left_out = {
        "sql": {"activities_100", "parallel_100", "replay", "idle"},
        "c": {"activities_100", "parallel_100", "replay"},
        "node": set[str](),
        "python": set[str](),
    }
    assert results.keys() == WORKLOADS.keys() - left_out[name]
    for workload, figures in results.items():
        assert figures["value"] > 0, workload
        assert figures["unit"] == WORKLOADS[workload].unit
    assert report["commit"]
    assert report["versions"]["postgresql"]
    assert results["workflow_100"]["wal"] > 100  # two rows and an event


def test_minutes_of_load_are_told_by_the_window(tmp_path: Path) -> None:
    report = bench(
        tmp_path,
        *("--sustained", "--sustained-seconds", "2.5", "--rows", "2000", "--contestants", "python"),
    )
    windows = report["sustained"]["results"]["python"]
    assert [each["until"] for each in windows] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert sum(each["value"] for each in windows) > 0
    assert all(each["executions"] > 2000 * 100 for each in windows)


def test_statements_are_counted_only_where_they_are_asked_for() -> None:
    with Server(BINARIES, BUILD) as server:
        for counted in (False, True):
            with server.database(counted=counted) as database:
                before = database.statements()
                for _ in range(3):
                    server.query("SELECT 1", database.name)
                assert database.statements() - before == (3 if counted else 0)
                written = database.wal()
                server.query("CREATE TABLE t (n int)", database.name)
                assert database.wal() > written
