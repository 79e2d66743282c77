from __future__ import annotations

import json
import sys
from pathlib import Path

from fault_elsewhere import ELSEWHERE, Elsewhere, keep, play, section
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
