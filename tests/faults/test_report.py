"""The page of figures has what `make mutants` found, if it was run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fault_report
import pytest
from fault_report import Report, published

_FIGURES: dict[str, Any] = {
    "executions": 3,
    "claims": 4,
    "lost": 0,
    "doubled": 0,
    "late_refused": 1,
    "faults": {"kill9": 2},
    "parked": {},
}
_CATCH = {
    "name": "no_token",
    "without": "the token in the lease",
    "scenario": "forged",
    "seconds": 8.0,
    "objection": "I6: under token 2fc61498-dc9b-47ca-a791-ad1ab36745be | no claim has it",
    "tests": "TestTokens",
    "remark": "",
}
_FOUND: dict[str, Any] = {
    "commit": "abc",
    "load": 1.5,
    "verdict": "1 of 2 caught; MISSED: other",
    "mutants": [_CATCH, {**_CATCH, "name": "other", "seconds": None, "objection": ""}],
    "controls": [{"scenario": "forged", "seconds": 9, "objection": ""}],
}


def _page() -> str:
    return published([Report("kill9", "1", "kills", 7, "abc", 60, _FIGURES)])


def test_the_page_has_each_mutant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = tmp_path / "mutants.json"
    found.write_text(json.dumps(_FOUND))
    monkeypatch.setattr(fault_report, "_MUTANTS", found)
    page = _page()
    assert "**1 of 2 caught; MISSED: other**" in page
    row = "| no_token | the token in the lease | forged | 8 | I6: under token … / no claim has it |"
    assert f"{row} TestTokens |" in page
    assert "| other | the token in the lease | forged | not caught |" in page
    assert "forged 9 s." in page


def test_the_page_says_nothing_of_mutants_that_nobody_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault_report, "_MUTANTS", tmp_path / "mutants.json")
    assert "Mutants" not in _page()
