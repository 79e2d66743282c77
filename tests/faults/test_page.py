"""The page of figures: what is kept of it, and how figures read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fault_page import in_words, published
from fault_report import Report, keep, kept

_FIGURES: dict[str, Any] = {
    "executions": 1234,
    "claims": 2000,
    "faults": {"kill9": 3},
    "lost": 0,
    "doubled": 0,
    "late_refused": 1,
    "crashes_counted": 0,
    "found_dead_p99_s": None,
    "recovery_p50_s": 1.97123,
    "recovery_p99_s": None,
    "wakeup_p50_ms": 7.123456,
    "wakeup_p99_ms": 239.617,
    "deadlocks": 0,
    "parked": {},
}


def _report(scenario: str = "quiet", row: str = "", **figures: Any) -> Report:
    figures = {**_FIGURES, **figures}
    return Report(scenario, row, "nothing happens", 7, "c0ffee", 60.0, figures, machine="m", load=1)


def test_a_page_has_no_empty_rows_no_none_and_no_more_digits_than_it_needs(tmp_path: Path) -> None:
    page = published([_report(), _report("kill9", "1 2")], tmp_path)
    assert "None" not in page
    assert "(row )" not in page
    assert "**quiet** (no row): nothing happens." in page
    assert "**kill9** (rows 1, 2)" in page
    assert "| 1,234 | 3 | 0 | 0 | 1 | 0 | 2.0 |  | 7 | 240 | 0 | 0 | ok |" in page


def test_what_was_written_by_hand_stays(tmp_path: Path) -> None:
    page = published([_report()], tmp_path)
    by_hand = page.replace("<!-- by hand -->\n", "<!-- by hand -->\nSeen elsewhere.\n")
    assert "Seen elsewhere." in published([_report()], tmp_path, by_hand)
    assert "Seen elsewhere." not in published([_report()], tmp_path, page)


_CATCH = {
    "name": "no_token",
    "without": "the token",
    "scenario": "forged",
    "seconds": 9.7,
    "objection": "I6: token 2fc61498-dc9b-47ca-a791-ad1ab36745be | no\nclaim",
    "tests": "TestTokens",
    "remark": "",
}
_MUTANTS: dict[str, Any] = {
    "commit": "abc",
    "load": 1.5,
    "verdict": "1 of 2 caught; MISSED: other",
    "mutants": [_CATCH, {**_CATCH, "name": "other", "seconds": None, "objection": ""}],
    "controls": [{"scenario": "forged", "seconds": 9, "objection": ""}],
}


def test_the_page_has_each_mutant(tmp_path: Path) -> None:
    (tmp_path / "mutants.json").write_text(json.dumps(_MUTANTS))
    page = published([_report()], tmp_path)
    assert "**1 of 2 caught; MISSED: other**" in page
    row = "| no_token | the token | forged | 10 | I6: token … \\| no claim | TestTokens |"
    assert row in page
    assert "| other | the token | forged | not caught |" in page
    assert "forged 9 s." in page


def test_a_section_whose_figures_are_gone_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mutants.json").write_text(json.dumps(_MUTANTS))
    page = published([_report()], tmp_path)
    (tmp_path / "mutants.json").unlink()
    assert published([_report()], tmp_path, page) == page
    assert "no_token" not in published([_report()], tmp_path)


def test_what_a_failover_forgot_is_told_apart_from_what_was_lost(tmp_path: Path) -> None:
    page = published([_report("failover", "28", lost=5), _report("kill9", "1", lost=2)], tmp_path)
    assert "| acknowledged and lost | 2 |" in page
    assert "lagged | 5 |" in page


def test_a_scenario_that_is_played_again_takes_the_place_of_its_last_run(tmp_path: Path) -> None:
    path = tmp_path / "reports.json"
    keep(path, [_report(), _report("kill9", "1")])
    keep(path, [_report("quiet", executions=1)])
    assert [(each.scenario, each.figures["executions"]) for each in kept(path)] == [
        ("quiet", 1),
        ("kill9", 1234),
    ]


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, ""),
        ({"crashes_counted": 0, "found_dead_p99_s": None, "largest_error": 0}, ""),
        ({"start_errors": 0}, "0 errors of them."),
        ({"resumed_max_s": 1.353}, "Resumed within 1.4 s of room."),
        ({"waited_max_ms": 12818.867}, "12,819 ms at most."),
        (
            {"claim_max_ms_before": 1.04, "claim_max_ms_then": 66},
            "1.0 ms at most before, 66 ms then.",
        ),
        ({"of_something_new": 3}, "Of something new 3."),
    ],
)
def test_figures_in_words(figures: dict[str, Any], words: str) -> None:
    assert in_words(figures) == words
