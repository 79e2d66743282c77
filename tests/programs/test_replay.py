"""The replay of histories notices what it should."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from program_generator import LONG_MS, Node
from program_replay import check
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
        "queue": "default",
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
SCHEDULED_2 = ("activity_scheduled", 2, "program.activity", {"id": "x"})
COMPLETED_2 = ("activity_completed", 2, "program.activity", "a1")


def problems(root: Node, *events: tuple[Any, ...], cut_off: bool = False) -> list[str]:
    return check(claimed(root), history(*events), cut_off)["problems"]


def test_a_history_that_fits_has_no_problems() -> None:
    found = check(claimed(STRAIGHT), history(*RAN), False)
    assert found["problems"] == []
    assert found["outcome"] == ["ok", ["a1", "sleep 2"]]
    assert found["end"]["then"] == "complete"
    assert problems(LIMITED, LIMIT, SCHEDULED_2, COMPLETED_2, ("timer_cancelled", 1)) == []


def test_the_transcript_is_that_of_the_commands() -> None:
    transcripts = {
        check(claimed(root), history(*events), False)["transcript"]
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
def test_a_history_that_does_not_fit_is_noticed(events: Any, problem: str) -> None:
    found = problems(STRAIGHT, *events)
    assert any(problem in each for each in found), found


def test_what_was_cut_off_may_lack_what_was_asked_for_last() -> None:
    assert (
        problems(STRAIGHT, SCHEDULED, COMPLETED, ("signal_received", None, "x"), cut_off=True) == []
    )


def test_a_cancel_that_history_does_not_have_is_noticed() -> None:
    found = problems(LIMITED, LIMIT, SCHEDULED_2, COMPLETED_2)
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


def test_a_signal_that_comes_after_the_end_asks_for_nothing() -> None:
    waits: Node = {"do": "signal", "n": 9, "by": "early", "count": 2, "together": True}
    root: Node = {"do": "timeout", "n": 8, "ms": 10, "body": {**waits, "timeout_ms": LONG_MS}}
    limits = [("timer_started", n, "signal signal 9", {"delay_ms": LONG_MS}) for n in (2, 3)]
    end = (("timer_fired", 1), ("signal_received", None, "signal 9", "9.0"), ("timer_cancelled", 2))
    limit = ("timer_started", 1, "timeout", {"delay_ms": 10})
    assert problems(root, limit, *limits, *end) == []
