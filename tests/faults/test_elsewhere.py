from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from fault_elsewhere import ELSEWHERE, Elsewhere, count, keep, play, section
from fault_scenarios import SCENARIOS

_SAYS = "import os; print('3 kills'); print('4 kills'); print('seed', os.environ['OF']); exit({})"


def _program(code: int, **counts: str) -> Elsewhere:
    command = (sys.executable, "-c", _SAYS.format(code))
    return Elsewhere("one", "53", "this", command, counts, {"programs": 9}, {"OF": "{seed}"})


def test_figures_are_what_the_program_was_told_and_what_it_prints(tmp_path: Path) -> None:
    played = play(_program(0, kills=r"(\d+) kills", lines="kills"), 7, tmp_path / "log")
    assert played.figures == {"programs": 9, "kills": 7, "lines": 2}
    assert (played.seed, played.wrong) == (7, "")
    assert "seed 7" in (tmp_path / "log").read_text()


def test_a_seed_that_is_too_large_is_cut_to_one_that_can_be_given_again(tmp_path: Path) -> None:
    seed = play(_program(0, lines="kills"), 2**63 + 5, tmp_path / "log").seed
    assert seed == 5
    assert play(_program(0, lines="kills"), seed, tmp_path / "log").seed == seed


def test_only_what_takes_a_seed_is_told_with_one(tmp_path: Path) -> None:
    unseeded = Elsewhere("one", "3", "this", _program(0).command, {"lines": "kills"})
    played = play(unseeded, 7, tmp_path / "log")
    assert played.seed is None
    assert "| 2 lines | - |" in section([asdict(played)])
    assert ELSEWHERE["payloads"].is_seeded
    assert not ELSEWHERE["roles"].is_seeded


def test_calls_are_counted_by_what_each_build_prints() -> None:
    printed = "==> build/address/fuzz 30 7\nopen 1, close 29\n31 calls, 0 crashes, seed 7\n"
    printed += "==> build/race/fuzz 30 7\n"
    raced = "open 1, close 29\n32 calls, 0 crashes, seed 7\n"
    assert _figures("calls", printed + raced) == [31, 32, 0]
    assert _figures("calls", f"{printed}1 crash: build/race/fuzz ended with -6\n") == [31, 0, 1]


def test_only_deaths_that_happened_are_counted() -> None:
    rules = "before:=create:1", "before:=create:2", "after:=migrate_file:3", "after:=beat:1"
    printed = "".join(f"    failpoints_test.go:9: a death at {rule}:kill\n" for rule in rules)
    printed += "    --- PASS: TestADeathAtAnyCommitBoundary/before_create_3 (0.4s)\n"
    assert _figures("boundaries", printed) == [2, 4, 1]


def _figures(name: str, printed: str) -> list[int]:
    return list(count(ELSEWHERE[name].counts, printed).values())


def test_a_program_that_fails_or_that_plays_nothing_is_wrong(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert "it ended with 3" in play(_program(3, lines="kills"), 7, log).wrong
    assert "it has played nothing" in play(_program(0, deaths="deaths"), 7, log).wrong


def test_the_last_one_of_each_name_is_kept_and_told(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.json"
    name = next(iter(ELSEWHERE))
    for seed in (7, 8):
        played = play(_program(0, lines="kills"), seed, tmp_path / "log")
        played.name = name
        keep(path, [played])
    [found] = json.loads(path.read_text())
    assert found["seed"] == 8
    row = next(line for line in section([found]).splitlines() if line.startswith(f"| {name}"))
    assert "9 programs, 2 lines" in row
    assert row.endswith("| ok |")


def test_no_name_is_that_of_a_scenario() -> None:
    assert not ELSEWHERE.keys() & SCENARIOS.keys()
