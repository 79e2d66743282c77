"""The programs themselves."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from program_generator import LONG_MS, Dice, Node, nodes, program
from program_model import outcomes
from program_shrink import ends, is_sound, size, smaller

HERE = Path(__file__).parent


def digest() -> str:
    """What the first programs come to."""
    programs = [program(seed) for seed in range(1, 101)]
    text = json.dumps([[each.seed, each.root, each.cancel_ms] for each in programs])
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_seed_gives_the_same_program_in_every_process() -> None:
    code = f"import sys; sys.path[:0] = [{str(HERE)!r}]\nimport test_generator\n"
    code += "print(test_generator.digest())"
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    ]
    assert found == [digest()] * 2


def test_the_dice_are_those_of_every_version_of_python() -> None:
    dice = Dice(1)
    assert [dice.roll() % 1000 for _ in range(6)] == PINNED


PINNED = [831, 524, 127, 839, 388, 97]


def test_the_first_fifty_programs_have_everything() -> None:
    found = Counter[str]()
    for seed in range(1, 51):
        for node in nodes(program(seed).root):
            found[node["do"]] += 1
            found.update(f"{node['do']} {node[at]}" for at in ("how", "by", "what") if at in node)
    assert not EVERYTHING - set(found)


EVERYTHING = {
    *("activity ok", "activity flaky", "activity slow", "activity thread", "activity fails"),
    *("activity refuses", "activity beats", "activity stuck", "activity gone"),
    *("step ok", "step flaky", "step slow", "step thread", "step fails", "step refuses"),
    *("signal harness", "signal early", "signal activity", "signal child", "signal self"),
    *("signal nobody", "sleep", "state", "version", "chance", "turn", "raise"),
    *("never signal", "never sleep", "never activity", "never child", "never step"),
    *("seq", "gather", "group", "race", "timeout", "each", "wait", "try", "shield", "cancel"),
    *("child run", "child queue", "child detach", "child cancel", "child expire"),
}


def test_every_program_ends_and_has_unique_labels() -> None:
    for seed in range(1, 1001):
        root = program(seed).root
        assert is_sound(root), seed
        found = outcomes(root, False)
        assert found.values or found.errors, seed
        assert max(Counter(node["n"] for node in nodes(root)).values()) == 1, seed


NEVER: Node = {"do": "never", "n": 1, "what": "signal"}
TURN: Node = {"do": "turn", "n": 2}
FAILS: Node = {"do": "activity", "n": 3, "how": "fails", "times": 0}


@pytest.mark.parametrize(
    ("node", "does"),
    [
        (NEVER, False),
        (TURN, True),
        ({"do": "seq", "n": 4, "parts": [TURN, NEVER]}, False),
        ({"do": "race", "n": 4, "parts": [NEVER, TURN]}, True),
        ({"do": "race", "n": 4, "parts": [NEVER]}, False),
        ({"do": "group", "n": 4, "parts": [NEVER, FAILS]}, True),
        ({"do": "group", "n": 4, "parts": [NEVER, TURN]}, False),
        ({"do": "timeout", "n": 4, "ms": 10, "body": NEVER}, True),
        ({"do": "timeout", "n": 4, "ms": LONG_MS, "body": NEVER}, False),
        (
            {"do": "wait", "n": 4, "until": "first", "timeout_ms": None, "parts": [NEVER, TURN]},
            True,
        ),
        ({"do": "wait", "n": 4, "until": "all", "timeout_ms": None, "parts": [NEVER, TURN]}, False),
        ({"do": "cancel", "n": 4, "body": NEVER, "meanwhile": TURN}, True),
        ({"do": "cancel", "n": 4, "body": TURN, "meanwhile": NEVER}, False),
        ({"do": "child", "n": 4, "how": "expire", "body": NEVER, "meanwhile": None}, True),
        ({"do": "child", "n": 4, "how": "run", "body": NEVER, "meanwhile": None}, False),
    ],
)
def test_what_ends_by_itself(node: Node, does: bool) -> None:
    assert ends(node) is does


def test_smaller_programs_are_smaller_and_end() -> None:
    root = program(3).root
    found = list(smaller(root))
    assert len(found) > 20
    assert all(size(each) <= size(root) and each != root and is_sound(each) for each in found)
    assert [size(each) for each in found] == sorted(size(each) for each in found)


def test_programs_that_do_not_continue_are_the_same_where_others_do() -> None:
    programs = [(program(seed), program(seed, continues=True)) for seed in range(1, 101)]
    others = [after.root for before, after in programs if before != after]
    assert 10 < len(others) < 50
    assert {each["do"] for each in others} == {"again"}
    assert all(is_sound(each) for each in others)
