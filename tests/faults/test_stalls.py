"""What is counted of event loops that bodies hold up."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from fault_figures import Evidence
from fault_stalls import blocks, delays, figures_of_stalls, told, untold
from test_figures import made_evidence, written

_LOG = """\
2026/11/30 20:08:29 WARN the event loop of this process has taken no reply for more than 4s: it
2026/11/30 20:08:31 INFO the event loop of this process goes on, after some 6s pid=26261
2026/11/30 20:08:39 WARN the event loop of this process has taken no reply for more than 4s: it
"""


def test_a_worker_tells_that_it_is_stalled_by_the_end_of_the_second_that_its_log_has() -> None:
    first, second = told(_LOG)
    assert second - first == 10
    assert first == datetime(2026, 11, 30, 20, 8, 30).timestamp()


def test_a_block_lasts_from_the_begin_of_a_body_that_blocks_to_its_end() -> None:
    lines = [
        {"t": "begin", "x": "other", "at": 0},
        {"t": "begin", "x": "blocker", "at": 10**9},
        {"t": "end", "x": "blocker", "at": 7 * 10**9},
        {"t": "took", "x": "blocker", "at": 8 * 10**9},
        {"t": "begin", "x": "blocker", "at": 9 * 10**9},
    ]
    assert blocks(lines, {"blocker": {}}, 10**9) == [(2.0, 8.0)]


def test_a_stall_is_told_within_its_block_and_a_long_one_may_be_missed() -> None:
    spans = [(0.0, 5.0), (20.0, 30.0), (50.0, 60.0)]
    assert delays(spans, [27.0]) == [7.0]
    assert untold(spans, [27.0]) == 1
    assert untold(spans, [27.0, 57.5]) == 0
    assert untold(spans, []) == 2


def test_what_a_worker_claims_that_has_said_that_it_is_stalled_is_counted(tmp_path: Path) -> None:
    claims = [
        written(n, at, "pending", "running", f"{n},{n + 1}", f"{worker},0,0,f,claim")
        for n, (at, worker) in enumerate([(4, "W1"), (9, "W2"), (9.5, "W1"), (12, "W1")])
    ]
    made_evidence(tmp_path, claims)
    (tmp_path / "executions.csv").write_text(
        'id,status,parked,args,error\nblocker,completed,,"[{""block_ms"": 9000}]",\n'
    )
    lines = [
        {"t": "begin", "x": "blocker", "at": 10**9},
        {"t": "end", "x": "blocker", "at": 10**10},
    ]
    journal = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "worker-w.jsonl").write_text(journal)
    begin = datetime.fromisoformat("2026-01-01T00:00:00+00:00").timestamp()
    said = datetime.fromtimestamp(begin + 7).strftime("%Y/%m/%d %H:%M:%S")
    word = "WARN the event loop of this process has taken no reply"
    (tmp_path / "w.log").write_text(f"{said} {word}\n")
    assert figures_of_stalls(Evidence(tmp_path)) == {
        "stalls_told": 1,
        "stall_told_p50_s": 7.0,
        "stall_told_max_s": 7.0,
        "stalls_untold": 0,
        "claims_while_stalled": 1,
    }
