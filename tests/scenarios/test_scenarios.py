"""Behaviours that hang on no language: in each language alone, and in both together.

A scenario is a directory: its workflow in Python and in TypeScript, and what is to come of it. It
runs four ways, which are told in scenario.py; in all of them it has the same result and the same
history, and the code in one language replays the histories of the other.
"""

from __future__ import annotations

import pytest
from scenario_files import WAYS, names, read
from scenario_outcome import difference
from scenario_replays import Replays
from scenario_session import Session

# One process drives them all, so that they have one worker in each language.
pytestmark = pytest.mark.xdist_group("scenarios")

NAMES = names()
LANGUAGES = ("python", "node")

# But what one language does in its own way the other cannot replay.
REPLAYS = [
    (name, way, language)
    for name in NAMES
    for way in WAYS
    for language in LANGUAGES
    if language == way.split("-")[0] or not read(name).is_of_one_language
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_has_the_same_outcome_and_history(
    scenarios: Session, name: str, way: str
) -> None:
    """O13: a workflow in one language, what it calls in the other; nothing tells them apart."""
    scenario = read(name)
    found = scenarios.outcome(name, way)
    expected = scenario.expected_in(way)
    assert difference(found, expected, ordered=scenario.is_exact) == ""


@pytest.mark.parametrize(("name", "way", "language"), REPLAYS)
def test_the_code_in_either_language_fits_the_recorded_histories(
    replays: Replays, name: str, way: str, language: str
) -> None:
    verdicts = replays.verdicts(name, way, language)
    assert verdicts == ["fits"] * len(verdicts)


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_says_what_it_shows_and_is_there_in_both_languages(name: str) -> None:
    scenario = read(name)
    assert scenario.given["promise"]
    assert scenario.given["order"] in ("exact", "any", "own")
    assert scenario.expected["runs"]
    for code in ("workflow.py", "workflow.ts"):
        assert f'"{name}"' in scenario.code(code).replace("'", '"')
