"""The examples of docs/testing.md, run as a user's tests are: with the plugin, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

DOCUMENT = Path(__file__).parents[3] / "docs" / "testing.md"


def files() -> dict[str, str]:
    """The files that the document shows, each put together from its pieces."""
    found: dict[str, str] = {}
    name = ""
    pieces = re.findall(r"<!-- file (\S+) -->|```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    for marker, code in pieces:
        name = marker or name
        found[name] = found.get(name, "") + ("\n\n" + code if code else "")
    return found


def test_the_examples_of_the_document_pass(pytester: pytest.Pytester) -> None:
    shown = files()
    assert set(shown) == {"shop.py", "test_shop.py"}
    for name, code in shown.items():
        (pytester.path / name).write_text(code)
    pytester.makeini(
        "[pytest]\nasyncio_mode=auto\nasyncio_default_fixture_loop_scope=function\n"
        "filterwarnings=error\n"
    )
    done = pytester.runpytest_subprocess("-p", "no:xdist")
    assert done.ret == 0
    assert done.parseoutcomes()["passed"] >= 25
