"""Reports, as people read them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from contestants import BENCH
from reporting import cell, draw, everything, size

RATE = {"unit": "/s", "value": 31_000, "ratio": 0.52, "cpu_postgres": 45.4, "cpu_client": 6}


@pytest.fixture
def report() -> dict[str, Any]:
    mine = {**RATE, "wal": 872, "peers": {"river": 2.04}}
    theirs = {**RATE, "value": 15_200, "wal": 1500}
    time = {"unit": "ms", "value": 1.234, "p99": 5.678, "cpu_postgres": 1, "cpu_client": 1}
    window = {"until": 60, "value": 950, "p50": 80, "p99": 140}
    sizes = {"executions": 512_000_000, "history": 1_200_000, "indexes": 900}
    return {
        "at": "2026-01-02 03:04 UTC",
        "commit": "0123456789ab",
        "machine": {
            "cpu": "A CPU",
            "cores": 2,
            "memory_gib": 24,
            "kernel": "6.1",
            "load_before": 0.1,
            "fsync_ms": 0.4,
        },
        "versions": {"postgresql": "18.1", "go": "go1", "python": "3.11", "node": "v24"},
        "rounds": 3,
        "seconds": 1.5,
        "titles": {"sql": "raw SQL", "c": "C ABI", "river": "River"},
        "peers": ["river"],
        "failures": ["pg-boss ended with status 1"],
        "results": {
            "sql": {"drain": {**RATE, "wal": 1}},
            "c": {"drain": mine, "pickup": {**time, "wal": 0, "peers": {}}},
            "river": {"drain": theirs},
        },
        "sustained": {
            "at": "2026-01-02 04:04 UTC",
            "commit": "0123456789ab",
            "seconds": 300,
            "rows": 1_000_000,
            "results": {"c": [{**window, **sizes}, {**window, **sizes, "until": 120}]},
        },
    }


def test_a_rate_comes_with_its_ratio_and_what_it_costs() -> None:
    assert cell({**RATE, "wal": 1234}) == "31,000/s (0.52) · 45 + 6 µs · 1.2 kB"


def test_a_time_comes_with_its_worst() -> None:
    assert cell({"unit": "ms", "value": 1.234, "p99": 5.678}) == "1.23 / 5.68 ms"


def test_an_idle_worker_comes_with_its_language() -> None:
    idle = {"unit": "idle", "value": 1.26, "memory": 43.2, "bare": 8.4}
    assert cell(idle) == "1.3 queries/s · 43 (8) MiB"


def test_what_was_not_measured_is_empty() -> None:
    assert cell(None) == ""


@pytest.mark.parametrize(
    ("bytes_", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (7e9, "7.0 GB")],
)
def test_sizes_are_written_for_people(bytes_: float, text: str) -> None:
    assert size(bytes_) == text


def test_columns_stand_below_each_other() -> None:
    assert draw([["a", "bbb"], ["cc", "d"]], markdown=False) == "a   bbb\ncc  d"
    assert draw([["a", "b"], ["c", "d"]], markdown=True) == "| a | b |\n| --- | --- |\n| c | d |"


@pytest.mark.parametrize("markdown", [True, False])
def test_a_report_tells_everything(report: dict[str, Any], *, markdown: bool) -> None:
    text = everything(report, markdown=markdown)
    for words in (
        "commit 0123456789ab",
        "load before the start 0.1",
        "31,000/s (0.52)",
        "15,200/s",
        "2.0 x",
        "1.23 / 5.68 ms",
        "Not measured: pg-boss ended with status 1.",
        "1,000,000 finished",
        "512.0 MB",
        "80.0 / 140.0 ms",
        "2.04",  # of the goals: against the best peer
        "yes",
    ):
        assert words in text


def test_the_tables_of_markdown_have_as_many_cells_in_each_row(report: dict[str, Any]) -> None:
    for table in everything(report, markdown=True).split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1


def test_a_run_of_peers_alone_can_be_read(report: dict[str, Any]) -> None:
    report["results"] = {"river": report["results"]["river"]}
    del report["sustained"]
    assert "15,200/s" in everything(report, markdown=False)


def test_the_command_line_draws_the_last_run(report: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(report))
    command = [sys.executable, str(BENCH / "run.py"), "--markdown", "--output", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert re.search(r"\| no-op jobs drained +\| 31,000/s", ended.stdout)
    assert json.loads(path.read_text()) == report
