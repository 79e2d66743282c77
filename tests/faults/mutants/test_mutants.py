"""The mutants are still made of text that is there: `make mutants` is too long for every change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mutant_table import MUTANTS, Mutant
from mutants import Catch, Control, publish

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_takes_out_is_there(mutant: Mutant) -> None:
    for edit in mutant.edits:
        assert (ROOT / edit.file).read_text().count(edit.old) == edit.times, edit.file
        assert edit.old != edit.new


def test_a_mutant_that_is_run_again_takes_its_own_place(tmp_path: Path) -> None:
    found = tmp_path / "mutants.json"
    catches = [Catch(each.name, "", each.scenario, 1, "I6", each.tests) for each in MUTANTS]
    again = Catch(MUTANTS[0].name, "", MUTANTS[0].scenario, 7, "I2", MUTANTS[0].tests)
    whole = f"{len(MUTANTS)} of {len(MUTANTS)} caught"

    publish(found, "c0ffee", [again], [])
    assert not found.exists()
    publish(found, "c0ffee", catches, [Control(MUTANTS[0].scenario, 9, "I3")])
    assert json.loads(found.read_text())["verdict"] == f"{whole}; control objected to in zombie"
    publish(found, "decade", [again], [Control(MUTANTS[0].scenario, 9, "")])
    assert json.loads(found.read_text())["mutants"][0]["seconds"] == 1
    publish(found, "c0ffee", [again], [Control(MUTANTS[0].scenario, 9, "")])
    told = json.loads(found.read_text())
    assert (told["verdict"], told["mutants"][0]["seconds"]) == (whole, 7)
    assert len(told["mutants"]) == len(MUTANTS)
