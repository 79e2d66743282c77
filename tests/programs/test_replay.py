"""The replay of histories notices what it should."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest
from program_generator import LONG_MS, Node
from program_judge import judged
from program_languages import LANGUAGES
from program_processes import replay_command
from program_replay import record
from workflows._replay import Replay

Json = dict[str, Any]

ACTIVITY: Node = {"do": "activity", "n": 1, "how": "ok"}
SLEEP: Node = {"do": "sleep", "n": 2, "ms": 10, "plain": False}


def claimed(root: Node) -> Json:
    id = "018f0000-0000-7000-8000-000000000001"
    return {
        "id": id,
        "run": 1,
        "name": "program",
        "queue": "python",
        "root_id": id,
        "args": [root],
    }


def history(*events: tuple[Any, ...]) -> list[Json]:
    """Write a history: the type, the sequence, the name and the payload of each event."""
    return [
        {
            "position": position,
            "at": f"2026-01-01T00:00:{position:02}+00:00",
            **dict(zip(("type", "sequence", "name", "payload"), event, strict=False)),
        }
        for position, event in enumerate([("started",), *events], 1)
    ]


STRAIGHT: Node = {"do": "seq", "n": 3, "parts": [ACTIVITY, SLEEP]}
SCHEDULED = ("activity_scheduled", 1, "program.activity", {"id": "x"})
COMPLETED = ("activity_completed", 1, "program.activity", "a1")
STARTED = ("timer_started", 2, "sleep", {"delay_ms": 10})
FIRED = ("timer_fired", 2)
RAN = (SCHEDULED, COMPLETED, STARTED, FIRED)

LIMITED: Node = {"do": "timeout", "n": 3, "ms": LONG_MS, "body": ACTIVITY}
LIMIT = ("timer_started", 1, "timeout", {"delay_ms": LONG_MS})
STEP: Node = {"do": "step", "n": 1, "how": "fails", "times": 2}
WAITS: Node = {"do": "signal", "n": 1, "by": "child", "count": 2, "together": True, "lang": "node"}
WAITS["timeout_ms"] = LONG_MS
SCHEDULED_2 = ("activity_scheduled", 2, "program.activity", {"id": "x"})
COMPLETED_2 = ("activity_completed", 2, "program.activity", "a1")


def recorded(root: Node, *events: tuple[Any, ...], language: str = "python") -> Json:
    """Replay with what this process makes of Python's adapter, or by a process of Node's."""
    if language == "python":
        return record(claimed(root), history(*events))
    request = json.dumps({"claimed": claimed(root), "events": history(*events)})
    command = replay_command(language, 1)
    ran = subprocess.run(command, input=request, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def check(
    root: Node, *events: tuple[Any, ...], cut_off: bool = False, language: str = "python"
) -> Json:
    return judged(recorded(root, *events, language=language), history(*events), cut_off)


def problems(
    root: Node, *events: tuple[Any, ...], cut_off: bool = False, language: str = "python"
) -> list[str]:
    return check(root, *events, cut_off=cut_off, language=language)["problems"]


in_each = pytest.mark.parametrize("language", LANGUAGES)


@in_each
def test_a_history_that_fits_has_no_problems(language: str) -> None:
    found = check(STRAIGHT, *RAN, language=language)
    assert found["problems"] == []
    assert found["outcome"] == ["ok", ["a1", "sleep 2"]]
    assert found["end"]["then"] == "complete"
    ended = (LIMIT, SCHEDULED_2, COMPLETED_2, ("timer_cancelled", 1))
    assert problems(LIMITED, *ended, language=language) == []


@pytest.mark.parametrize("root", [STRAIGHT, LIMITED, STEP, WAITS])
def test_both_languages_ask_for_the_same(root: Node) -> None:
    """The histories below fit one of them; where one does not, both are parked."""
    for events in ((), RAN, (LIMIT, SCHEDULED_2)):
        one, other = (recorded(root, *events, language=each)["prefixes"] for each in LANGUAGES)
        for before, after in zip(one, other, strict=True):
            same = {key: after[key] for key in ("then", "commands", "steps", "outcome")}
            assert same == {key: before[key] for key in same}


@in_each
def test_what_is_taken_back_before_anybody_heard_is_noted(language: str) -> None:
    turn: Node = {"do": "turn", "n": 5}
    root: Node = {"do": "cancel", "n": 4, "body": ACTIVITY, "meanwhile": turn, "bare": True}
    [only] = recorded(root, language=language)["prefixes"]
    assert only["outcome"] == ["ok", ["turn 5", ["stopped"]]]
    assert (only["commands"], only["withdrawn"], only["abandoned"]) == ([], [1], [1])


@in_each
def test_what_is_cancelled_while_it_is_open_is_noted(language: str) -> None:
    root: Node = {**LIMITED, "ms": 10}
    found = check(root, LIMIT, SCHEDULED_2, ("timer_fired", 1), language=language)
    assert found["outcome"] == ["failed", ["TimeoutError", ""]]
    assert any("2 was cancelled, and history knows" in each for each in found["problems"])


@in_each
def test_what_is_replayed_is_noted(language: str) -> None:
    known = recorded(STRAIGHT, *RAN[:2], language=language)["prefixes"][-1]
    assert [list(each) for each in known["asked"]] == [
        [1, True, True, True],
        [2, False, False, False],
    ]


def test_the_transcript_is_that_of_the_commands() -> None:
    transcripts = {
        check(root, *events)["transcript"]
        for root, events in (
            (STRAIGHT, RAN),
            (STRAIGHT, RAN[:-1]),
            ({**STRAIGHT, "parts": [ACTIVITY, {**SLEEP, "ms": 20}]}, RAN),
        )
    }
    assert len(transcripts) == 3


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ((("timer_started", 1, "sleep"),), "it does not fit"),
        ((("activity_scheduled", 1, "other"),), "it does not fit"),
        ((*RAN, ("timer_started", 3, "sleep")), "it does not fit"),
        ((SCHEDULED, COMPLETED, ("signal_received", None, "x")), "which history does not have"),
    ],
)
@in_each
def test_a_history_that_does_not_fit_is_noticed(language: str, events: Any, problem: str) -> None:
    found = problems(STRAIGHT, *events, language=language)
    assert any(problem in each for each in found), found


@in_each
def test_what_was_cut_off_may_lack_what_was_asked_for_last(language: str) -> None:
    events = (SCHEDULED, COMPLETED, ("signal_received", None, "x"))
    assert problems(STRAIGHT, *events, cut_off=True, language=language) == []


@in_each
def test_a_cancel_that_history_does_not_have_is_noticed(language: str) -> None:
    found = problems(LIMITED, LIMIT, SCHEDULED_2, COMPLETED_2, language=language)
    assert any("cancels 1, and history knows no end" in each for each in found), found


def test_a_cancel_that_is_not_given_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def cancel(*_: object) -> None: ...

    monkeypatch.setattr(Replay, "cancel", cancel)
    found = problems(LIMITED, LIMIT, SCHEDULED_2, COMPLETED_2)
    assert found == ["1 was cancelled, and history knows no end of it"]


@pytest.mark.parametrize(
    ("always", "problem"), [(True, "is true after"), (False, "is false before")]
)
def test_a_wrong_is_replaying_is_noticed(
    monkeypatch: pytest.MonkeyPatch, always: bool, problem: str
) -> None:
    def is_replaying(_: Replay) -> bool:
        return always

    monkeypatch.setattr(Replay, "is_replaying", is_replaying)
    found = problems(STRAIGHT, *RAN)
    assert any(problem in each for each in found), found


def test_a_command_that_depends_on_what_follows_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Replay.timer

    def timer(self: Replay, delay_ms: int, name: str, fire: Any) -> int:
        ahead = self._ahead  # pyright: ignore[reportPrivateUsage]
        return start(self, delay_ms + ahead, name, fire)

    signal = ("signal_received", None, "x")
    monkeypatch.setattr(Replay, "timer", timer)
    found = problems(
        SLEEP, signal, ("timer_started", 1, "sleep", {"delay_ms": 10}), ("timer_fired", 1)
    )
    assert any(each.startswith("prefix of 2 gives") for each in found), found


def test_a_workflow_in_memory_that_goes_other_ways_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feed = Replay.feed

    def never_one_alone(self: Replay, events: Sequence[Any]) -> None:
        feed(self, events if len(events) > 1 else [])

    monkeypatch.setattr(Replay, "feed", never_one_alone)
    found = problems(STRAIGHT, *RAN)
    assert any("in memory" in each for each in found), found


@in_each
def test_a_signal_that_comes_after_the_end_asks_for_nothing(language: str) -> None:
    waits: Node = {"do": "signal", "n": 9, "by": "early", "count": 2, "together": True}
    root: Node = {"do": "timeout", "n": 8, "ms": 10, "body": {**waits, "timeout_ms": LONG_MS}}
    limits = [("timer_started", n, "signal signal 9", {"delay_ms": LONG_MS}) for n in (2, 3)]
    end = (("timer_fired", 1), ("signal_received", None, "signal 9", "9.0"), ("timer_cancelled", 2))
    if language == "node":  # a cancel goes to all that was called, awaited or not
        end = (*end, ("timer_cancelled", 3))
    limit = ("timer_started", 1, "timeout", {"delay_ms": 10})
    assert problems(root, limit, *limits, *end, language=language) == []
