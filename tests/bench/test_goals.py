"""What was to be reached, held against a report."""

from __future__ import annotations

from typing import Any

import pytest
from goals import Reached, check_goals

TITLES = {
    "sql": "raw SQL",
    "c": "C ABI",
    "node": "Node",
    "python": "Python",
    "graphile-worker": "graphile-worker",
    "river": "River",
    "dbos-go": "DBOS Go",
    "absurd": "absurd",
}


def report(**results: dict[str, Any]) -> dict[str, Any]:
    named = {name.replace("_", "-"): figures for name, figures in results.items()}
    peers = [name for name in named if name not in ("sql", "c", "node", "python")]
    return {"titles": TITLES, "peers": peers, "results": named}


def rate(value: float) -> dict[str, Any]:
    return {"unit": "/s", "value": value}


def time(value: float) -> dict[str, Any]:
    return {"unit": "ms", "value": value, "p99": 2 * value}


def only(rows: list[Reached], title: str, goal: str = "") -> Reached:
    [row] = [each for each in rows if each.title == title and goal in each.goal]
    return row


def test_the_best_peer_counts_and_not_the_first() -> None:
    told = report(
        node={"workflow_100": rate(6000)},
        absurd={"workflow_100": rate(900)},
        dbos_go={"workflow_100": rate(1500)},
    )
    row = only(check_goals(told), "no-op workflows, 100 in flight, Node")
    assert row == Reached(
        row.title, ">= 5 x best peer", "6,000/s", "DBOS Go: 1,500/s", "4.00", reached=False
    )


@pytest.mark.parametrize(("mine", "reached"), [(7500, True), (7499, False)])
def test_a_goal_is_reached_from_its_factor_on(mine: float, *, reached: bool) -> None:
    told = report(node={"workflow_100": rate(mine)}, dbos_go={"workflow_100": rate(1500)})
    assert only(check_goals(told), "no-op workflows, 100 in flight, Node").reached is reached


@pytest.mark.parametrize(("mine", "reached"), [(1.2, True), (1.3, False)])
def test_a_time_has_to_be_shorter(mine: float, *, reached: bool) -> None:
    told = report(python={"pickup": time(mine)}, river={"pickup": time(2.0)})
    row = only(check_goals(told), "pick-up p50, Python")
    assert row.reached is reached
    assert row.goal == "<= 0.6 x River"


def test_activities_are_held_against_the_steps_of_others() -> None:
    told = report(
        python={"activities_100": rate(6000), "steps_100": rate(1)},
        dbos_go={"activities_100": rate(1), "steps_100": rate(2000)},
    )
    row = only(check_goals(told), "activities in sequence, 100 in flight, Python, against steps")
    assert (row.ratio, row.reached) == ("3.00", True)


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    rows = check_goals(report(c={"drain": rate(30_000)}))
    row = only(rows, "jobs drained through the C ABI", "best peer")
    assert (row.figure, row.against, row.reached, row.said) == ("30,000/s", "", None, "")
    assert all(each.reached is None for each in rows)


def test_the_ceiling_is_not_a_peer() -> None:
    rows = check_goals(report(c={"drain": rate(45)}, sql={"drain": rate(100)}))
    assert only(rows, "jobs drained through the C ABI", "best peer").reached is None
    row = only(rows, "jobs drained through the C ABI", "raw SQL")
    assert (row.ratio, row.reached) == ("0.45", False)


def test_the_last_minute_is_held_against_the_first() -> None:
    windows = [rate(1000), rate(10), rate(910)]
    told = {**report(), "sustained": {"results": {"c": windows}}}
    row = only(check_goals(told), "sustained, last minute against first, C ABI")
    assert (row.figure, row.against, row.ratio, row.reached) == ("910/s", "1,000/s", "0.91", True)


@pytest.mark.parametrize(
    ("value", "memory", "reached"),
    [(1.9, 66, [True, True]), (2.0, 66, [False, True]), (0.5, 68, [True, False])],
)
def test_an_idle_worker_asks_little_and_is_small(
    value: float, memory: float, reached: list[bool]
) -> None:
    idle = {"idle": {"unit": "idle", "value": value, "memory": memory, "bare": 42}}
    rows = check_goals(report(node=idle, river=idle))
    assert [each.reached for each in rows if each.title == "idle worker, Node"] == reached
    assert not [each for each in rows if each.title == "idle worker, River"]
