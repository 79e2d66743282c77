"""The checks notice what they are for: each spoils one thing in the evidence of a good run."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from program_checks import problems
from program_evidence import Run, Tree, counted, describe
from program_generator import Node, Program
from program_judge import judged
from program_replay import record

Json = dict[str, Any]

ROOT = "018f0000-0000-7000-8000-000000000001"
ACTIVITY: Node = {"do": "activity", "n": 1, "how": "flaky", "times": 1}
STEP: Node = {"do": "step", "n": 2, "how": "ok"}
SLEEP: Node = {"do": "sleep", "n": 3, "ms": 2000, "plain": False}
CHILD_ID, ACTIVITY_ID = f"{ROOT[:-1]}2", f"{ROOT[:-1]}3"
CHILD: Node = {
    "do": "child",
    "n": 5,
    "how": "run",
    "body": {"do": "turn", "n": 6},
    "meanwhile": None,
}
PROGRAM: Node = {"do": "seq", "n": 4, "parts": [ACTIVITY, STEP, SLEEP, CHILD]}


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}+00:00"


def event(position: int, type: str, sequence: int | None = None, **more: Any) -> Json:
    found = {"position": position, "type": type, "at": at(position), **more}
    return found if sequence is None else {**found, "sequence": sequence}


EVENTS = [
    event(1, "started", payload={"language": "python"}),
    event(2, "activity_scheduled", 1, name="program.activity", payload={"id": ACTIVITY_ID}),
    event(3, "activity_completed", 1, name="program.activity", payload="a1"),
    event(4, "step_completed", 2, name="program.step", payload="s2"),
    event(5, "timer_started", 3, name="sleep", payload={"delay_ms": 2000}),
    event(7, "timer_fired", 3) | {"position": 6},
    event(8, "child_started", 4, name="program", payload={"id": CHILD_ID}) | {"position": 7},
    event(9, "child_completed", 4, name="program", payload="turn 6") | {"position": 8},
]


def row(id: str, kind: str, node: Node, **more: Any) -> Json:
    counts = {"attempts": 1, "failures": 0, "releases": 0, "history_length": 0, "run": 1}
    name = {"workflow": "program", "activity": "program.activity"}[kind]
    times = {"finished_at": at(10)}
    return {"id": id, "kind": kind, "name": name, "status": "completed", "args": [node]} | {
        **{"queue": "python", "root_id": ROOT},
        **times,
        **counts,
        **more,
    }


def note(event: str, what: str, id: str, attempt: int, now: float) -> Json:
    where = {"worker": "w", "lang": "python"}
    return {"event": event, "what": what, "id": id, "attempt": attempt, "now": now, **where}


def good() -> Any:
    """The evidence of a program that went as it should."""
    result = ["a1", "s2", "sleep 3", "turn 6"]
    below = {"parent_id": ROOT}
    tree = Tree(Program(1, PROGRAM), ROOT)
    rows = [
        row(ROOT, "workflow", PROGRAM, result=result, history_length=8),
        row(ACTIVITY_ID, "activity", ACTIVITY, result="a1", sequence=1, **below)
        | {"attempts": 2, "failures": 1},
        row(CHILD_ID, "workflow", CHILD["body"], result="turn 6", sequence=4, **below)
        | {"history_length": 1},
    ]
    tree.rows = {each["id"]: each for each in copy.deepcopy(rows)}  # type: ignore[assignment]
    tree.bodies = {
        ACTIVITY_ID: [
            note(event, "a1", ACTIVITY_ID, attempt, 0.0)
            for attempt in (1, 2)
            for event in ("began", "ended")
        ],
        ROOT: [note(event, "s2", ROOT, 1, 0.0) for event in ("began", "ended")],
    }
    evidence: Any = tree
    evidence.runs = [
        Run(evidence.rows[ROOT], 1, PROGRAM, copy.deepcopy(EVENTS)),  # type: ignore[arg-type]
        Run(evidence.rows[CHILD_ID], 1, CHILD["body"], EVENTS[:1]),  # type: ignore[arg-type]
    ]
    replay(evidence)
    return evidence


def replay(tree: Any) -> None:
    for run in tree.runs:
        claimed = {**run.row, "run": run.number, "args": [run.node]}
        answer = judged(record(claimed, run.events), run.events, False)
        run.replays = [answer, dict(answer)]


def test_a_good_run_has_no_problems() -> None:
    tree = good()
    assert problems(tree) == []
    assert counted([tree]) == "1 completed; 3 executions, 9 events, 0 bodies run again"
    assert ROOT in describe(tree)


def spoilt(spoil: Callable[[Any], object], again: bool = False) -> list[str]:
    tree = good()
    spoil(tree)
    if again:
        replay(tree)
    return problems(tree)


def changed(tree: Any, index: int, **fields: Any) -> None:
    events = tree.runs[0].events
    events[index] = events[index] | fields


SPOILT: dict[str, Callable[[Any], object]] = {
    "has not ended": lambda tree: tree.rows[ACTIVITY_ID].update(status="running"),
    "positions are": lambda tree: changed(tree, 3, position=9),
    "its length is": lambda tree: tree.rows[ROOT].update(history_length=7),
    "is commanded 2 times": lambda tree: changed(tree, 4, sequence=1),
    "ends nothing that is open": lambda tree: changed(tree, 5, sequence=1),
    "2 times started": lambda tree: changed(tree, 3, type="started"),
    "it asked for": lambda tree: tree.rows[CHILD_ID].update(sequence=1),
    "and there are": lambda tree: tree.rows.pop(CHILD_ID),
    "activity_completed of": lambda tree: tree.rows[ACTIVITY_ID].update(status="failed"),
    "it was told": lambda tree: tree.rows[ACTIVITY_ID].update(result="a9"),
    "after it": lambda tree: tree.rows[CHILD_ID].update(finished_at=at(50)),
    "s early": lambda tree: changed(tree, 5, at=at(6)),
    "of no step of its own": lambda tree: changed(tree, 3, payload="s9"),
    "its body never ended": lambda tree: tree.bodies[ROOT].pop(),
    "was run again": lambda tree: tree.bodies[ROOT].append(note("began", "s2", ROOT, 2, 2e9)),
    "two processes replay": lambda tree: tree.runs[0].replays[1].update(transcript="x"),
    "replayed it completed": lambda tree: tree.rows[ROOT].update(status="failed", error={}),
    "replayed it park": lambda tree: tree.runs[0].replays[0].update(end={"then": "park"}),
    "replayed it answers": lambda tree: tree.rows[ROOT].update(result=[]),
    "the model allows only": lambda tree: tree.runs[0].replays[0].update(outcome=["ok", []]),
    "it ended without its code": lambda tree: tree.runs[0].replays[0].update(outcome=None),
    "it was not asked to stop": lambda tree: tree.rows[ROOT].update(status="cancelled"),
    "it was asked to stop": lambda tree: changed(tree, 3, type="cancel_requested", sequence=0),
    "it was ended from outside": lambda tree: tree.rows[ROOT].update(
        status="failed", error={"language": "core", "type": "WorkerLost"}
    ),
    "attempts have an outcome": lambda tree: tree.bodies.pop(ACTIVITY_ID),
    "and the body began 3 times": lambda tree: tree.bodies[ACTIVITY_ID].append(
        note("began", "a1", ACTIVITY_ID, 3, 0.0)
    ),
    "twice in the attempts": lambda tree: tree.bodies[ACTIVITY_ID][2].update(attempt=1),
    "the body never ended": lambda tree: [
        each.update(event="began") for each in tree.bodies[ACTIVITY_ID]
    ],
    "it answered": lambda tree: tree.rows[ACTIVITY_ID].update(result="a9"),
    "it failed 2 times": lambda tree: tree.rows[ACTIVITY_ID].update(failures=2, attempts=3),
    "code in node ran it": lambda tree: changed(tree, 0, payload={"language": "node"}),
    "a body in python ran": lambda tree: tree.rows[ACTIVITY_ID].update(queue="node"),
    "only a cancel ends": lambda tree: tree.rows[ACTIVITY_ID]["args"][0].update(how="endless"),
}


@pytest.mark.parametrize(("problem", "spoil"), SPOILT.items(), ids=SPOILT)
def test_what_is_spoilt_is_noticed(problem: str, spoil: Callable[[Any], object]) -> None:
    found = spoilt(spoil)
    assert any(problem in each for each in found), found


def test_what_the_replay_finds_is_a_problem() -> None:
    found = spoilt(lambda tree: changed(tree, 4, name="other"), again=True)
    assert any("does not fit" in each for each in found), found


def test_a_stopped_worker_may_run_again_what_was_recorded_elsewhere() -> None:
    def spoil(tree: Any) -> None:
        tree.bodies[ROOT].append(note("began", "s2", ROOT, 2, 2e9))
        tree.zombies.add("w")

    assert spoilt(spoil) == []


def test_an_activity_that_lost_its_worker_may_fail_less_often() -> None:
    assert spoilt(lambda tree: tree.rows[ACTIVITY_ID].update(failures=0)) == []


def test_what_belongs_to_a_workflow_may_end_with_its_deadline() -> None:
    late = {"language": "core", "type": "ExecutionTimeout", "message": "late"}

    def spoil(tree: Any) -> None:
        row = tree.rows[ACTIVITY_ID]
        row.update(status="failed", error=late, deadline_at=at(3))
        row["args"][0].update(how="endless")
        payload = {"error": late, "attempts": 2}
        changed(tree, 2, type="activity_failed", payload=payload)

    assert spoilt(spoil) == []
    assert any("is endless" in each for each in spoilt(lambda tree: [spoil(tree), drop(tree)]))


def drop(tree: Any) -> None:
    del tree.rows[ACTIVITY_ID]["deadline_at"]


def test_a_run_that_is_continued_has_its_own_history() -> None:
    tree = good()
    root: Node = {"do": "again", "n": 8, "body": {"do": "turn", "n": 7}, "next": PROGRAM}
    tree.program = Program(1, root)
    tree.rows[ROOT].update(run=2)
    tree.runs[0].number = 2
    first = Run(tree.rows[ROOT], 1, root, [event(1, "started"), event(2, "continued")])  # type: ignore[list-item]
    first.replays = [{"problems": [], "outcome": ["ok", "continued"], "end": {"then": "continue"}}]
    tree.runs.append(first)
    assert tree.nodes(tree.rows[ROOT]) == [root, PROGRAM]
    assert problems(tree) == []
    first.events.pop()
    assert any("of 2 runs it is the 1th" in each for each in problems(tree))
