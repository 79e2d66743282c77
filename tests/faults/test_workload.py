from __future__ import annotations

import re
from collections import Counter
from typing import Any, cast

import pytest
from fault_nemesis import STATEMENTS, Faults, Nemesis
from fault_scenarios import SCENARIOS
from fault_server import ROOT
from fault_workload import Workload, agrees


def test_a_seed_makes_the_same_items_whenever_it_is_asked() -> None:
    one, other, third = Workload(7), Workload(7), Workload(8)
    items = [one.item(n) for n in range(300)]
    assert [other.item(n) for n in reversed(range(300))] == items[::-1]
    assert [third.item(n) for n in range(300)] != items


def test_ids_of_items_are_unique() -> None:
    items = [Workload(7).item(n) for n in range(500)]
    assert len({item.uid for item in items}) == 500
    ids = [item.id for item in items if item.id]
    assert len(set(ids)) == len(ids) > 100


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_items_and_known_faults(name: str) -> None:
    scenario = SCENARIOS[name]
    workload = Workload(1, scenario.mix, scenario.languages)
    assert all(workload.item(n).executions() for n in range(50))
    assert all(hasattr(Nemesis, f"_{kind}") for kind in scenario.faults.kinds)


def test_every_statement_whose_commit_is_cut_is_one_of_the_library() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "core" / "store").glob("*.go"))
    named: list[str] = re.findall(r'define\("(\w+)"', sources)
    assert not [each for each in STATEMENTS if not any(name.startswith(each) for name in named)]


def test_no_kind_of_fault_is_long_in_coming() -> None:
    faults = Faults({"often": 6, "seldom": 2})
    nemesis = Nemesis(7, faults, cast(Any, None), cast(Any, None), None)
    drawn = [nemesis._draw() for _ in range(40)]  # pyright: ignore[reportPrivateUsage]
    fours = [Counter(drawn[at : at + 4]) for at in range(0, 40, 4)]
    assert fours == [{"often": 3, "seldom": 1}] * 10
    again = Nemesis(7, faults, cast(Any, None), cast(Any, None), None)
    assert [again._draw() for _ in range(40)] == drawn  # pyright: ignore[reportPrivateUsage]


_A = {"uid": "a", "nonce": "01"}
_SPEC: dict[str, Any] = {
    "deeds": [
        {"do": "step", "uid": "a"},
        {"do": "take", "uid": "t", "count": 2},
        {"do": "all", "uid": "g", "deeds": [{"do": "sleep", "uid": "s"}]},
        {"do": "first", "uid": "f", "deeds": []},
    ]
}


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ([_A, ["x", "y"], ["slept"], "call"], True),
        ([_A, ["y", "x"], ["slept"], "sleep"], True),
        ([{**_A, "uid": "b"}, ["x", "y"], ["slept"], "call"], False),
        (["a", ["x", "y"], ["slept"], "call"], False),
        ([_A, ["x", "x"], ["slept"], "call"], False),
        ([_A, ["x", "y"], [], "call"], False),
        ([_A, ["x", "y"], ["slept"], "neither"], False),
        ([_A, ["x", "y"], ["slept"]], False),
        (None, False),
    ],
)
def test_the_model_knows_what_a_workflow_may_answer(value: object, right: bool) -> None:
    assert agrees(_SPEC, value) == right
