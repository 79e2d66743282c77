from __future__ import annotations

import json
from pathlib import Path

from fault_figures import Evidence, percentile

_HEAD = (
    "n,at,tab,x,run,old_status,new_status,old_epoch,new_epoch,"
    "worker,releases,crashes,alone,statement"
)
_ROW = "2026-01-01 00:00:{:06.3f}+00,executions"


def _evidence(directory: Path, written: list[str], calls: list[str] | None = None) -> Evidence:
    (directory / "meta.json").write_text(json.dumps({"boottime_offset_ns": 1_767_225_600 * 10**9}))
    kill = {"t": "fault", "kind": "kill9", "target": {"name": "w"}, "at": 2 * 10**9}
    (directory / "nemesis.jsonl").write_text(json.dumps(kill) + "\n")
    (directory / "workers.csv").write_text("id,name\nW1,w\n")
    (directory / "executions.csv").write_text("id,status,parked,args,error\nx,completed,,[],\n")
    (directory / "audit.csv").write_text("\n".join([_HEAD, *written]) + "\n")
    (directory / "client-c.jsonl").write_text("".join(f"{call}\n" for call in calls or []))
    return Evidence(directory)


def _written(n: int, at: float, old: str, new: str, epochs: str, rest: str) -> str:
    return f"{n},{_ROW.format(at)},x,1,{old},{new},{epochs},{rest}"


def test_a_recovery_is_counted_from_the_kill_to_the_next_claim(tmp_path: Path) -> None:
    figures = _evidence(
        tmp_path,
        [
            _written(1, 1, "pending", "running", "0,1", "W1,0,0,f,claim"),
            _written(2, 4, "running", "pending", "1,1", "W1,0,1,f,requeue_lost"),
            _written(3, 4.5, "pending", "running", "1,2", "W2,0,1,f,claim"),
            _written(4, 5, "running", "completed", "2,2", "W2,0,0,f,finish"),
        ],
    ).figures()
    assert (figures["found_dead_p99_s"], figures["recovery_p99_s"]) == (2, 2.5)
    assert figures["crashes_counted"] == 1
    assert figures["claims"] == 2
    assert figures["doubled"] == figures["lost"] == 0


def test_a_second_end_and_a_start_that_is_gone_are_seen(tmp_path: Path) -> None:
    figures = _evidence(
        tmp_path,
        [
            _written(1, 1, "running", "completed", "1,1", "W1,0,0,f,finish"),
            _written(2, 2, "pending", "failed", "1,1", "W1,0,0,f,finish"),
        ],
        [json.dumps({"t": "call", "op": "start", "outcome": "ok", "x": "gone"})],
    ).figures()
    assert (figures["doubled"], figures["lost"]) == (1, 1)


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2
    assert percentile([3.0, 1.0, 2.0], 1) == 3
