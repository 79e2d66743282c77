"""The list of promises and their proofs, docs/behaviours.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from .listing import (
    Chapter,
    Promise,
    Proof,
    complaints,
    go_proofs,
    ids_in,
    proofs,
    python_proofs,
    read_promises,
    render,
    typescript_proofs,
)

PYTHON = '''
"""S9: the docstring of a module proves nothing."""

def test_by_its_docstring() -> None:
    """S1: in words."""

async def test_of_several(
    stage: Stage,
) -> None:
    """S2, R10."""
    assert True  # S7

def test_by_its_comment() -> None:  # C4
    ...

def test_on_several_lines(
    cold: bool,
) -> None:  # C6
    ...

@pytest.mark.parametrize("n", [1])
def test_of_nothing(n: int) -> None:
    """Sees that S3 is not named at the head."""

def helper() -> None:
    """S4: no test."""
'''

TYPESCRIPT = """
// R10: in memory, and after a discard.
test('neither catch nor finally runs', async () => {
  assert.ok(true) // S7
})

describe('signals', () => {
  // S3
  // in order
  it(`takes "a" before "b"`, () => {})
})

// S4 is not followed by a colon.
test("nothing", () => {})
"""

GO = """
// S1, Q4: whatever state the first is in.
func TestATakenKey(t *testing.T) {
}

// Q18
func TestFiftyProcesses(t *testing.T) {

// S4 is not followed by a colon.
func TestNothing(t *testing.T) {

// Q9: stands above something else.

func TestAlone(t *testing.T) {
"""

CHAPTERS = """
[[chapters]]
name = "One"
[chapters.promises]
S2 = "second | first"
S1 = { now = "first", planned = "more" }
[[chapters]]
name = "Two"
[chapters.promises]
Q7 = { planned = "later" }
"""


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("S3: three signals", ["S3"]),
        ("R3, R4: code that does not fit", ["R3", "R4"]),
        ("Q18", ["Q18"]),
        ("T6.", ["T6"]),
        ("S8\nand more", ["S8"]),
        ("S3 three signals", []),
        ("As in S3: three signals", []),
        ("SQL: a statement", []),
        ("", []),
    ],
)
def test_ids_stand_at_the_head(text: str, ids: list[str]) -> None:
    assert ids_in(text) == ids


def test_python_tests_name_promises_in_docstrings_and_behind_their_def() -> None:
    assert {test: ids for test, ids in python_proofs(PYTHON) if ids} == {
        "by its docstring": ["S1"],
        "of several": ["S2", "R10"],
        "by its comment": ["C4"],
        "on several lines": ["C6"],
    }


def test_go_tests_name_promises_in_the_comment_above() -> None:
    assert [(test, ids) for test, ids in go_proofs(GO) if ids] == [
        ("`TestATakenKey`", ["S1", "Q4"]),
        ("`TestFiftyProcesses`", ["Q18"]),
    ]


def test_typescript_tests_name_promises_in_the_comment_above_them() -> None:
    assert [(test, ids) for test, ids in typescript_proofs(TYPESCRIPT) if ids] == [
        ("neither catch nor finally runs", ["R10"]),
        ('takes "a" before "b"', ["S3"]),
    ]


def test_tests_are_found_wherever_they_are(tmp_path: Path) -> None:
    for name, text in {
        "adapters/python/tests/test_a.py": PYTHON,
        "tests/deep/er/test_b.py": 'def test_b() -> None:\n    """S5."""\n',
        "tests/deep/no_test.py": PYTHON,
        "core/engine/c_test.go": GO,
        "core/engine/engine.go": GO,
        "adapters/node/tests/d.test.ts": TYPESCRIPT,
        "adapters/node/tests/story.ts": TYPESCRIPT,
        "tests/scenarios/child_ends/expected.json": '{"promise": "C9, O13: told apart."}',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [(proof.path, len(proof.ids)) for proof in proofs(tmp_path)]
    assert [path for path, _ in found] == [
        *["adapters/node/tests/d.test.ts"] * 2,
        *["adapters/python/tests/test_a.py"] * 4,
        *["core/engine/c_test.go"] * 2,
        "tests/deep/er/test_b.py",
        "tests/scenarios/child_ends",
    ]


def test_promises_keep_their_order() -> None:
    assert read_promises(CHAPTERS) == [
        Chapter("One", [Promise("S2", "second | first"), Promise("S1", "first", "more")]),
        Chapter("Two", [Promise("Q7", "", "later")]),
    ]


def test_a_promise_without_a_test_and_a_test_without_a_promise_are_complaints() -> None:
    chapters = read_promises(CHAPTERS)
    told = complaints(chapters, [Proof("test_a.py", "a", ["S1", "S99"])])
    assert len(told) == 2
    assert "test_a.py" in told[0]
    assert "S99" in told[0]
    assert told[1].startswith("S2 has no test")
    assert complaints(chapters, [Proof("test_a.py", "a", ["S1", "S2"])]) == []


def test_a_promise_is_a_row_with_its_tests() -> None:
    found = [Proof("tests/a.py", "it holds", ["S1"]), Proof("b_test.go", "`TestB`", ["S1"])]
    rows = [row for row in render(read_promises(CHAPTERS), found).splitlines() if row[:1] == "|"]
    assert rows[2:4] == [
        r"| S2 | second \| first |  |",
        "| S1 | first *Planned:* more | [it holds](../tests/a.py)<br>[`TestB`](../b_test.go) |",
    ]
    assert rows[-1] == "| Q7 | *Planned:* later |  |"
