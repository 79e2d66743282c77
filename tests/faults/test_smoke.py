"""A minute of faults on every change; `make faults` is the long run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_SEED = 20_251_129


@pytest.mark.timeout(400)
def test_nothing_is_lost_or_doubled_in_a_minute_of_faults(tmp_path: Path) -> None:
    """Workers die, are stopped and leave; PostgreSQL crashes, and replies of commits are lost."""
    ended = subprocess.run(
        [
            sys.executable,
            str(HERE / "faults.py"),
            *("--scenario", "smoke", "--seed", str(_SEED), "--duration", "60"),
            *("--keep", str(tmp_path), "--json", str(tmp_path / "figures.json")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "WORKFLOWS_DATABASE_URL"},
    )
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.splitlines()[-1] == "verdict: ok"
    [report] = json.loads((tmp_path / "figures.json").read_text())
    assert report["figures"]["executions"] > 100
    kinds = ("kill9", "stop", "term", "pg_restart", "terminate_backend", "cut_commit")
    assert report["figures"]["faults"].keys() >= set(kinds)
    checked = report["invariants"]["invariants"]
    assert all(checked[each]["checked"] for each in ("I8", "I12", "I14", "I21", "I22"))
