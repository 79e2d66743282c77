"""The page of figures: what is kept of it, and how figures read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from fault_elsewhere import Played
from fault_page import in_words, published, told, verdict
from fault_report import Report, beyond, completed, keep, kept

_FIGURES: dict[str, Any] = {
    "executions": 1234,
    "claims": 2000,
    "faults": {"kill9": 3},
    "lost": 0,
    "doubled": 0,
    "stale_accepted": 0,
    "told_lost": 1,
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
    assert "| 1,234 | 3 | 0 | 0 | 0 | 1 | 0 | 2.0 |  | 7 | 240 | 0 | 0 | ok |" in page


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


def test_stale_writes_are_told_also_if_there_are_none_or_nobody_counted(tmp_path: Path) -> None:
    one, other = _report("kill9"), _report("zombie", stale_accepted=2)
    assert "| stale writes accepted | 0 |" in published([one], tmp_path)
    assert "| stale writes accepted | 2 |" in published([one, other], tmp_path)
    del one.figures["stale_accepted"]
    assert "| stale writes accepted | not counted |" in published([one], tmp_path)


def test_the_ends_of_faults_are_told_apart_and_not_counted(tmp_path: Path) -> None:
    faults = {"stop": 5, "cont": 4, "pg_start": 1}
    figures = completed({**_FIGURES, "faults": faults}, {})
    assert completed(figures, {}) == figures
    made = _report("zombie", "2", **figures)
    page = published([made], tmp_path)
    assert "| faults | 5 |" in page
    assert "| zombie | 2 | 1,234 | 5 |" in page
    assert "| cont |" not in page
    assert "Their ends count as no faults: cont 4, pg_start 1." in page
    assert "ended" not in in_words(figures)
    assert "{'stop': 5}" in told(made)


_FOUND: dict[str, Any] = {
    "stale_writes_accepted": 0,
    "bodies_overlapping": 24,
    "bodies_begun_after_the_success_of_others": 20,
    "signals_not_taken": 0,
    "recovery_ms": {"count": 84, "p50": 3939.3, "p99": 5904.9, "max": 5904.9},
    "wake_up_ms": {"count": 0, "p50": 0, "p99": 0, "max": 0},
}


def test_what_only_the_checker_counts_is_published() -> None:
    figures = completed({}, _FOUND)
    assert figures["stale_accepted"] == 0
    assert figures["wakeup_p99_ms"] is None
    words = (
        "24 bodies overlapped across a lost lease, 20 bodies began late, after another's success."
    )
    assert in_words(figures) == words


def test_the_checkers_recoveries_are_taken_where_the_rig_has_none() -> None:
    assert completed({"recovery_p50_s": None}, _FOUND)["recovery_p50_s"] == 3.939
    rigs = {"recovery_p50_s": 1.8, "recovery_p99_s": 2.4}
    assert completed(rigs, _FOUND)["recovery_p99_s"] == 2.4
    none = {"recovery_ms": {**_FOUND["recovery_ms"], "count": 0}}
    assert completed({"recovery_p50_s": None}, none)["recovery_p50_s"] is None


def test_reports_that_were_kept_of_older_runs_are_completed_and_published(tmp_path: Path) -> None:
    path = tmp_path / "reports.json"
    old = _report("zombie", "2", faults={"stop": 1, "cont": 1}, wakeup_p99_ms=7)
    del old.figures["stale_accepted"]
    path.write_text(json.dumps([{**asdict(old), "invariants": {}}, asdict(_found("pool"))]))
    without, found = kept(path)
    assert without.figures["faults"] == {"stop": 1}
    assert without.figures["wakeup_p99_ms"] == 7
    assert found.figures["recovery_p99_s"] == 5.905
    assert "| zombie | 2 | 1,234 | 1 | 0 | 0 |  | 1 |" in published([without, found], tmp_path)


def _found(scenario: str, **invariants: dict[str, Any]) -> Report:
    made = _report(scenario)
    made.invariants = {"figures": _FOUND, "invariants": invariants}
    return made


def _checked(checked: int, violated: int = 0, **more: str) -> dict[str, Any]:
    return {"checked": checked, "violated": violated, **more}


def test_the_invariants_are_summed_up_over_all_scenarios(tmp_path: Path) -> None:
    page = published(
        [
            _found("kill9", I2=_checked(1000, text="once"), I14={"not_applicable": "no races"}),
            _found("zombie", I2=_checked(500, 1), I14={"not_applicable": "no races"}),
            _found("forged", I10=_checked(7), I2=_checked(0), I28=_checked(0, text="truth")),
        ],
        tmp_path,
    )
    _, _, section = page.partition("## Invariants")
    rows = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| I")]
    assert rows == [
        "| I2 | once | 1,500 | 1 | 2 |",
        "| I10 |  | 7 | 0 | 1 |",
        "| I14 | not applicable: no races |  |  | 0 |",
        "| I28 | truth (never checked) |  |  | 0 |",
    ]
    assert "in 3 scenarios" in section


def test_a_reason_stands_beside_the_text_of_what_nothing_had_to_check(tmp_path: Path) -> None:
    reports = [
        _found("kill9", I14={"not_applicable": "no races", "text": "one winner"}),
        _found("zombie", I14={"not_applicable": "no bodies"}),
    ]
    row = "| I14 | one winner (not applicable: no races; no bodies) |  |  | 0 |"
    assert row in published(reports, tmp_path)


def test_without_what_was_checked_there_is_no_table_of_it(tmp_path: Path) -> None:
    assert "## Invariants" not in published([_report()], tmp_path)
    page = published([_report(), _found("kill9", I1=_checked(1))], tmp_path)
    assert "Nothing of that was kept of quiet." in page


def _targets(page: str) -> dict[str, list[str]]:
    """Answer what is said of each target: the aim, the figure, where, and whether it is reached."""
    section = page.partition("## Targets")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return {name: rest for name, *rest in rows[2:]}


def test_targets_are_reached_or_missed_or_not_played(tmp_path: Path) -> None:
    lone = _report("lone", wakeup_p99_ms=11.2)
    kill9 = _report("kill9", "1", recovery_p99_s=3.2, faults={"kill9": 2000})
    targets = _targets(published([lone, kill9], tmp_path))
    assert targets["executions"] == ["1,000,000 or more", "2,468", "all", "**no**"]
    assert targets["faults"] == ["2,000 or more", "2,003", "all", "yes"]
    assert targets["stale writes accepted"] == ["0", "0", "all", "yes"]
    recovery = targets["recovery p99: the heartbeat timeout and 1 s"]
    assert recovery == ["3.0 s at most", "3.2 s", "`kill9`", "**no**"]
    assert targets["wake-up p99, without faults"] == ["50 ms at most", "11 ms", "`lone`", "yes"]
    poison = targets["crashes until a poison is parked"]
    assert poison == ["3 at most", "", "`poison`", "not played"]
    assert targets["payloads changed (I25)"] == ["0", "", "all", "not counted"]
    assert targets[_CRASHES] == ["0", "", "`calls`", "not played"]


_CRASHES = "crashes of the library in 10,000,000 calls"


@pytest.mark.parametrize(
    ("address", "race", "crashes", "figure", "reached"),
    [
        (10_000_000, 10_000_000, 0, "0", "yes"),
        (10_000_000, 9_999_999, 0, "", "not counted"),
        (10_000_000, 0, 1, "1", "**no**"),
    ],
)
def test_a_target_may_be_that_of_a_program(
    tmp_path: Path, address: int, race: int, crashes: int, figure: str, reached: str
) -> None:
    figures = {"calls under AddressSanitizer": address, "calls under the race detector": race}
    played = Played("calls", "75", "calls", 7, "c0ffee", 1.0, {**figures, "crashes": crashes})
    (tmp_path / "elsewhere.json").write_text(json.dumps([asdict(played)]))
    targets = _targets(published([_report()], tmp_path))
    assert targets[_CRASHES] == ["0", figure, "`calls`", reached]


def test_scenarios_whose_recoveries_take_longer_are_listed_with_the_reasons(tmp_path: Path) -> None:
    zombie = _report("zombie", "2", recovery_p99_s=4.04, slow_recoveries={"nobody was awake": 13})
    kill9 = _report("kill9", "1", recovery_p99_s=2.1)
    page = published([zombie, kill9], tmp_path)
    assert "- `zombie`: 4.0 s; 13 times because nobody was awake\n" in page
    assert "- `kill9`" not in page
    assert "miss it" not in published([kill9], tmp_path)


def test_the_page_says_how_to_play_it_again_and_what_was_played_otherwise(tmp_path: Path) -> None:
    reports = [_report(), _report("kill9"), _report("term")]
    reports[0].total = reports[1].total = 1800
    reports[2].seed = 8
    page = published(reports, tmp_path)
    assert "`make faults SEED=7 DURATION=1800` at commit c0ffee, 3 minutes" in page
    assert "Of these, term with `SEED=8` at commit c0ffee." in page
    reports[2].duration = 20.0
    assert "make faults SCENARIO=term SEED=8 DURATION=20" in told(reports[2])


def test_what_a_scenario_is_about_is_told_even_if_it_is_nothing() -> None:
    none: dict[str, int] = {}
    figures = {"errors_surfaced": 0, "statements_cancelled": none, "crashes_counted": 0}
    assert in_words(figures) == ""
    tells = ["errors_surfaced", "statements_cancelled"]
    words = "0 calls of clients ended in an error, statements cancelled there: none."
    assert in_words(figures, tells) == words


def test_figures_that_are_too_large_too_small_or_missing_are_wrong() -> None:
    figures = {"crashes_counted": 3, "stalls_told": 0, "lost": 0}
    assert beyond(figures, {"lost": 0, "crashes_counted": 3}, {"crashes_counted": 3}) == []
    wrong = beyond(figures, {"crashes_counted": 2, "none": 0}, {"stalls_told": 1, "nor": 1})
    assert len(wrong) == 4


def test_a_target_tells_how_many_scenarios_its_figure_is_of(tmp_path: Path) -> None:
    reports = [_report("failover", "28", lost=5), _found("kill9", I25=_checked(9, 2)), _report()]
    targets = _targets(published(reports, tmp_path))
    lost = targets["acknowledged and lost, but by a replica that lagged"]
    assert lost == ["0", "0", "2 of 3", "yes"]
    assert targets["payloads changed (I25)"] == ["0", "2", "1 of 3", "**no**"]


def test_a_wake_up_under_load_is_told_beside_the_target(tmp_path: Path) -> None:
    assert "and is under load: 240 ms (p99) there." in published([_report()], tmp_path)
    assert "and is under load." in published([_report("lone")], tmp_path)


def test_what_was_skipped_is_named_beside_the_verdict_and_among_the_scenarios(
    tmp_path: Path,
) -> None:
    page = published([_report(), _report("wal_full")], tmp_path, "", ["disk_full", "wal_full"])
    assert "**verdict ok; skipped: disk_full, wal_full**" in page
    assert "- **disk_full** was skipped.\n" in page
    assert "- **wal_full** was skipped; what is told of it is of an earlier run." in page
    assert "skipped" not in published([_report()], tmp_path)
    assert verdict(["a", "b"], ["c"]) == "VIOLATED in a, b; skipped: c"


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
        (
            {"tried_again": {"57P01": 1200, "no connection": 3}},
            "The library tried writes again by itself, because of 57P01 1,200, no connection 3.",
        ),
    ],
)
def test_figures_in_words(figures: dict[str, Any], words: str) -> None:
    assert in_words(figures) == words
