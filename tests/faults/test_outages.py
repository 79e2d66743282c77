"""What is counted of outages of PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_figures import Evidence
from fault_outages import figures_of_outages, outages
from test_figures import made_evidence, written

_AWAY = [
    {"t": "fault", "kind": "pg_stop", "target": None, "at": 3 * 10**9},
    {"t": "fault", "kind": "pg_start", "target": None, "at": 5 * 10**9},
]
_CLAIMED = written(1, 1, "pending", "running", "0,1", "W1,0,0,f,claim")
_LOST = written(2, 6, "running", "pending", "1,1", "W1,0,1,f,requeue_lost")
_AGAIN = written(3, 6.5, "pending", "running", "1,2", "W2,0,1,f,claim")
_ENDED = written(4, 7, "running", "completed", "2,2", "W2,0,0,f,finish")
_PUT_BACK = written(2, 6, "running", "pending", "1,1", "W1,1,0,f,release")


def _evidence(directory: Path, rows: list[str]) -> Evidence:
    return made_evidence(directory, rows, faults=_AWAY)


def test_an_outage_lasts_from_a_stop_to_the_next_start() -> None:
    assert outages(_AWAY, 10**9) == [(4.0, 6.0)]
    assert outages([*_AWAY[1:], *_AWAY[:1]], 0) == []


def test_what_ran_and_was_taken_after_an_outage_is_rerun_and_needlessly(tmp_path: Path) -> None:
    figures = figures_of_outages(_evidence(tmp_path, [_CLAIMED, _LOST, _AGAIN, _ENDED]))
    assert (figures["rerun_after_outages"], figures["needless_recoveries"]) == (1, 1)
    assert figures["resume_p50_s"] == figures["resume_max_s"] == pytest.approx(2)


def test_what_its_worker_put_back_is_no_recovery(tmp_path: Path) -> None:
    figures = figures_of_outages(_evidence(tmp_path, [_CLAIMED, _PUT_BACK, _AGAIN, _ENDED]))
    assert (figures["rerun_after_outages"], figures["needless_recoveries"]) == (0, 0)


def test_without_an_outage_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert figures_of_outages(made_evidence(tmp_path, [_CLAIMED], faults=[])) == {}
