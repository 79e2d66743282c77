"""Why recoveries took longer than they are to take."""

from __future__ import annotations

from datetime import UTC, datetime

from fault_recoveries import ALONE, AWAY, NOBODY, OTHER, UNSEEN, Recovery, absences, reason

_LIVES = {"python-1": 0.0, "node-1": 0.0, "node-2": 0.0, "node-3": 99.0}


def _recovery(queue: str = "node", alone: str = "f") -> Recovery:
    claimed = datetime.fromtimestamp(14, UTC).isoformat(" ")
    return Recovery(queue, 10.0, 12.0, {"at": claimed, "alone": alone})


def test_a_recovery_is_slow_from_a_heartbeat_timeout_and_a_second_on() -> None:
    assert _recovery().is_slow
    assert not Recovery("node", 11.5, 12.0, _recovery().claim).is_slow


def test_a_worker_is_absent_while_it_is_stopped_and_once_it_is_dead() -> None:
    notes = [("stop", "a", 1), ("kill9", "b", 2), ("cont", "a", 4), ("pg_restart", "", 5)]
    faults = [
        {"kind": kind, "target": name and {"name": name}, "at": at * 10**9}
        for kind, name, at in notes
    ]
    assert absences(faults, 10**9) == {"a": [(2.0, 5.0)], "b": [(3.0, float("inf"))]}


def test_the_reason_is_an_outage_a_suspect_a_fleet_asleep_or_another() -> None:
    asleep = {"node-1": [(10.0, float("inf"))], "node-2": [(11.0, 13.8)]}
    assert reason(_recovery(), [(13.0, 13.5)], asleep, _LIVES) == AWAY
    assert reason(_recovery(), [(1.0, 2.0)], asleep, _LIVES) == NOBODY
    assert reason(_recovery(alone="t"), [], asleep, _LIVES) == ALONE
    assert reason(_recovery("default"), [], asleep, _LIVES) == OTHER
    assert reason(_recovery(), [], {}, _LIVES) == OTHER


def test_nobody_finds_a_dead_worker_who_dies_before_it_has_looked_for_long_enough() -> None:
    late = Recovery("default", 8.0, 12.0, _recovery().claim)
    asleep = {name: [(10.0, float("inf"))] for name in ("python-1", "node-1", "node-2")}
    assert reason(late, [], asleep, _LIVES) == UNSEEN
    assert reason(late, [], {**asleep, "node-2": [(1.0, 8.5)]}, _LIVES) == OTHER
