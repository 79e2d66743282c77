"""Which of many first starts are to die, and where."""

from __future__ import annotations

from fault_starts import doom
from program_generator import Dice


def test_in_every_other_round_all_but_some_are_to_die_while_they_migrate() -> None:
    assert not any(doom(Dice(7), 1))
    places = doom(Dice(7), 2)
    assert places.count("") == len(places) / 5
    assert all(":=migrate_" in place for place in places if place)
    assert places == doom(Dice(7), 2)
