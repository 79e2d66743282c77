"""The model, on programs that are small enough to see what is right."""

from __future__ import annotations

from typing import Any

import pytest
from program_generator import LONG_MS, Node
from program_model import Outcomes, outcomes
from program_patterns import Failure, Group, Heard, Just, OneOf, Some, Text, row


def leaf(n: int, do: str = "activity", how: str = "ok", **fields: Any) -> Node:
    return {"do": do, "n": n, "how": how, **fields}


OK = leaf(1)
FAILS = leaf(2, how="fails", times=1)
NEVER: Node = {"do": "never", "n": 3, "what": "sleep"}
RAISES: Node = {"do": "raise", "n": 4}
FAILED = ["failed", ["ActivityError", "ProgramError: a2", 2]]
RAISED = ["failed", ["ProgramError", "raise 4"]]


def a_try(body: Node, catch: str | None, **fields: Any) -> Node:
    extra: Node = {"handler": leaf(5), "last": None, "again": False, **fields}
    return {"do": "try", "n": 9, "body": body, "catch": catch, **extra}


def several(do: str, *parts: Node, **fields: Any) -> Node:
    return {"do": do, "n": 9, "parts": list(parts), **fields}


CASES: list[tuple[Node, list[Any], list[Any]]] = [
    # what, how it may end, how it may not
    (OK, [["ok", "a1"]], [["ok", "a2"], FAILED, ["stopped"]]),
    (FAILS, [FAILED, ["failed", ["ActivityError", "ProgramError: a2", 5]]], [["ok", "a2"]]),
    (FAILS, [], [["failed", ["ActivityError", "ProgramError: a2", 1]]]),
    (leaf(1, "step", "refuses"), [["failed", ["StepError", "Refused: s1", 1]]], [["ok", "s1"]]),
    (NEVER, [], [["ok", None], ["stopped"]]),
    (several("seq", OK, RAISES, FAILS), [RAISED], [FAILED, ["ok", ["a1"]]]),
    (several("gather", OK, OK, all=False), [["ok", ["a1", "a1"]]], [["ok", ["a1"]]]),
    (several("gather", RAISES, FAILS, all=False), [RAISED, FAILED], [["ok", []]]),
    (several("gather", OK, RAISES, all=True), [["ok", [["ok", "a1"], RAISED]]], [RAISED]),
    (
        several("group", RAISES, NEVER),
        [["failed", ["ExceptionGroup", [RAISED[1]]]]],
        [RAISED, ["failed", ["ExceptionGroup", []]]],
    ),
    (several("race", NEVER, OK), [["ok", ["p1", "a1"]]], [["ok", ["p0", "a1"]]]),
    (several("race", OK, RAISES), [["ok", ["p0", "a1"]], RAISED], [["ok", ["p1", "a1"]]]),
    (
        {"do": "timeout", "n": 9, "ms": 10, "body": OK},
        [["ok", "a1"], ["failed", ["TimeoutError", ""]]],
        [["stopped"]],
    ),
    (
        {"do": "timeout", "n": 9, "ms": LONG_MS, "body": OK},
        [["ok", "a1"]],
        [["failed", ["TimeoutError", ""]]],
    ),
    (
        {"do": "timeout", "n": 9, "ms": 10, "body": a_try(NEVER, "cancel")},
        [["ok", ["caught", "stopped", "a5"]], ["failed", ["TimeoutError", ""]]],
        [["ok", "a5"]],
    ),
    (
        several("each", OK, RAISES),
        [["ok", [[1, RAISED], [0, ["ok", "a1"]]]]],
        [["ok", [[0, ["ok", "a1"]]]], ["ok", [[0, RAISED], [1, ["ok", "a1"]]]]],
    ),
    (
        several("wait", OK, OK, until="first", timeout_ms=None),
        [["ok", [[1, ["ok", "a1"]]]], ["ok", [[0, ["ok", "a1"]], [1, ["ok", "a1"]]]]],
        [["ok", []], ["ok", [[1, ["ok", "a1"]], [0, ["ok", "a1"]]]]],
    ),
    (several("wait", OK, until="all", timeout_ms=5), [["ok", []]], []),
    (a_try(FAILS, "error"), [["ok", ["caught", FAILED[1], "a5"]]], [FAILED]),
    (a_try(FAILS, "error", again=True), [FAILED], [["ok", ["caught", FAILED[1], "a5"]]]),
    (a_try(FAILS, "cancel"), [FAILED], [["ok", ["caught", FAILED[1], "a5"]]]),
    (a_try(OK, "all", last=RAISES), [RAISED], [["ok", ["done", "a1"]]]),
    (
        {"do": "cancel", "n": 9, "body": NEVER, "meanwhile": OK},
        [["ok", ["a1", ["stopped"]]]],
        [["ok", ["a1", ["ok", None]]], ["stopped"]],
    ),
    (
        {"do": "child", "n": 9, "how": "run", "body": FAILS, "meanwhile": None},
        [["failed", ["ChildFailed", "ActivityError: ProgramError: a2"]]],
        [FAILED],
    ),
    (
        {"do": "child", "n": 9, "how": "run", "body": several("group", RAISES), "meanwhile": None},
        [
            [
                "failed",
                [
                    "ChildFailed",
                    "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)",
                ],
            ]
        ],
        [["failed", ["ChildFailed", "ProgramError: raise 4"]]],
    ),
]


@pytest.mark.parametrize(("node", "allowed", "refused"), CASES)
def test_how_a_program_may_end(node: Node, allowed: list[Any], refused: list[Any]) -> None:
    found = outcomes(node, stoppable=False)
    assert [each for each in allowed if not found.ends.allows(each)] == [], found
    assert [each for each in refused if found.ends.allows(each)] == [], found


def test_what_may_be_stopped_may_end_so_too() -> None:
    assert outcomes(several("seq", OK, OK), stoppable=True).ends.allows(["stopped"])
    shielded = outcomes({"do": "shield", "n": 9, "body": NEVER}, stoppable=True)
    assert (shielded.values, shielded.cancelled) == ((), True)
    swallowed = outcomes(a_try(NEVER, "cancel"), stoppable=True)
    assert swallowed.ends.allows(["ok", ["caught", "stopped", "a5"]])


def test_signals_are_heard_in_order_and_each_once() -> None:
    heard = Heard(("1.0", "1.1", "1.2"), never_late=False)
    assert heard.allows(["1.0", "1.1", "1.2"])
    assert heard.allows(["late", "1.0", "late"])
    for wrong in (["1.1", "1.0", "1.2"], ["1.0", "1.0", "1.1"], ["1.1", "late", "late"], ["1.0"]):
        assert not heard.allows(wrong)
    assert not Heard(("1.0",), never_late=True).allows(["late"])


def test_patterns_are_strict() -> None:
    assert not Just(1).allows(True)
    assert not Text("a+").allows("ab")
    assert not row("a", Just(1)).allows(["a", 1, 2])
    assert not Some((Just("x"), Just("y")), 1, sorted=True).allows([[0, "x"], [0, "x"]])
    assert not Some((Just("x"),), 1, sorted=True).allows([[1, "x"]])
    assert not Group((Failure("A", "a"),)).allows(["ExceptionGroup", [["A", "a"], ["B", "b"]]])
    assert not OneOf(()).allows(None)
    assert not Failure("A", "a.c").allows(["A", "abc"])
    assert Failure("A", "a.c", form=True).allows(["A", "abc"])


def test_outcomes_print_what_is_expected() -> None:
    assert (
        str(outcomes(FAILS, False))
        == "error ActivityError: ProgramError: a2 after 2 attempts or more"
    )
    assert "never ends" in str(Outcomes())
