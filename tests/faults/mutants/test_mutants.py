"""The mutants are still made of text that is there: `make mutants` is too long for every change."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutant_table import MUTANTS, Mutant

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_takes_out_is_there(mutant: Mutant) -> None:
    for edit in mutant.edits:
        assert (ROOT / edit.file).read_text().count(edit.old) == edit.times, edit.file
        assert edit.old != edit.new
