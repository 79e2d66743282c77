from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fault_figures import Evidence, percentile

_HEAD = (
    "n,at,tab,x,run,old_status,new_status,old_epoch,new_epoch,"
    "worker,releases,crashes,alone,statement"
)
_ROW = "2026-01-01 00:00:{:06.3f}+00,executions"


_KILL = {"t": "fault", "kind": "kill9", "target": {"name": "w"}, "at": 2 * 10**9}


def made_evidence(
    directory: Path,
    written: list[str],
    calls: Sequence[str] = (),
    faults: Sequence[Mapping[str, Any]] = (_KILL,),
) -> Evidence:
    """Make what a run leaves whose worker W1 is killed unless other faults are given."""
    (directory / "meta.json").write_text(json.dumps({"boottime_offset_ns": 1_767_225_600 * 10**9}))
    notes = "".join(json.dumps(fault) + "\n" for fault in faults)
    (directory / "nemesis.jsonl").write_text(notes)
    (directory / "workers.csv").write_text("id,name\nW1,w\n")
    (directory / "executions.csv").write_text("id,status,parked,args,error\nx,completed,,[],\n")
    (directory / "audit.csv").write_text("\n".join([_HEAD, *written]) + "\n")
    (directory / "client-c.jsonl").write_text("".join(f"{call}\n" for call in calls))
    return Evidence(directory)


def written(n: int, at: float, old: str, new: str, epochs: str, rest: str) -> str:
    return f"{n},{_ROW.format(at)},x,1,{old},{new},{epochs},{rest}"


def test_a_recovery_is_counted_from_the_kill_to_the_next_claim(tmp_path: Path) -> None:
    figures = made_evidence(
        tmp_path,
        [
            written(1, 1, "pending", "running", "0,1", "W1,0,0,f,claim"),
            written(2, 4, "running", "pending", "1,1", "W1,0,1,f,requeue_lost"),
            written(3, 4.5, "pending", "running", "1,2", "W2,0,1,f,claim"),
            written(4, 5, "running", "completed", "2,2", "W2,0,0,f,finish"),
        ],
    ).figures()
    assert (figures["found_dead_p99_s"], figures["recovery_p99_s"]) == (2, 2.5)
    assert figures["crashes_counted"] == 1
    assert figures["claims"] == 2
    assert figures["doubled"] == figures["lost"] == 0


def test_a_second_end_and_a_start_that_is_gone_are_seen(tmp_path: Path) -> None:
    figures = made_evidence(
        tmp_path,
        [
            written(1, 1, "running", "completed", "1,1", "W1,0,0,f,finish"),
            written(2, 2, "pending", "failed", "1,1", "W1,0,0,f,finish"),
        ],
        [json.dumps({"t": "call", "op": "start", "outcome": "ok", "x": "gone"})],
    ).figures()
    assert (figures["doubled"], figures["lost"]) == (1, 1)


def test_holders_are_told_that_it_was_lost_or_that_others_ended_it(tmp_path: Path) -> None:
    id = "7701e10c-efe3-4113-bc70-1bae0b8f10f5"
    other = id.replace("7", "8")
    row = written(1, 1, "running", "cancelled", "1,1", "W1,0,0,f,end").replace(",x,", f",{id},")
    lines = [f"the lease of workflow fault.node_flow {each} was lost; on" for each in (id, other)]
    (tmp_path / "node-1.log").write_text("\n".join(lines))
    writes = [{"t": "write", "code": code} for code in ("lease_lost", None, "timeout")]
    journal = "".join(json.dumps(each) + "\n" for each in writes)
    (tmp_path / "worker-forger-1.jsonl").write_text(journal)
    figures = made_evidence(tmp_path, [row]).figures()
    assert (figures["told_lost"], figures["told_ended"]) == (1, 1)
    assert figures["writes_refused"] == 1


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2
    assert percentile([3.0, 1.0, 2.0], 1) == 3
