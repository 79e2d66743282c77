"""The files of a scenario: what is asked for in expected.json, and what is to come of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

HERE = Path(__file__).parent
WAYS = ("python", "node", "python-node", "node-python")

Json = dict[str, Any]

# What whoever writes a scenario says, in this order; the rest of the file is the outcome.
_GIVEN = ("promise", "order", "start", "do", "in_node")


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    Attributes:
        name: of its directory and of its workflow.
        given: what expected.json says of the scenario itself:
            promise: what it shows, in words.
            order: "exact" if the code uses the SDK's combinators alone, and the history is the
                same position by position; "any" if it leaves to chance which of several things
                happens first, so that the same events are there in some order; "own" if it uses
                what only its language has: the same, and no replay in the other language.
            start: fields of the new execution, such as args.
            do: what is done to it meanwhile, see scenario_drive.
            in_node: what is otherwise in the outcome of a workflow in Node, because the languages
                differ. Another language does not replay such a history.
        expected: the outcome.
    """

    name: str
    given: Json
    expected: Json

    @property
    def is_exact(self) -> bool:
        return self.given["order"] == "exact"

    @property
    def is_of_one_language(self) -> bool:
        """Whether code in another language does something else, and is to."""
        return self.given["order"] == "own" or "in_node" in self.given

    def code(self, file: str) -> str:
        """Answers the text of one of its files."""
        return (HERE / self.name / file).read_text(encoding="utf-8")

    def expected_in(self, way: str) -> Json:
        """Answers the outcome in one of the four ways."""
        if not way.startswith("node"):
            return self.expected
        expected = {**self.expected, **self.given.get("in_node", {})}
        if expected["status"] != "completed":
            expected.pop("result", None)
        return expected


def names() -> list[str]:
    """Answers the names of all scenarios."""
    return sorted(path.parent.name for path in HERE.glob("*/expected.json"))


def read(name: str) -> Scenario:
    """Reads a scenario's expected.json."""
    told = cast(Json, json.loads((HERE / name / "expected.json").read_text(encoding="utf-8")))
    given = {"order": "exact", **{key: told[key] for key in _GIVEN if key in told}}
    return Scenario(name, given, {key: told[key] for key in told if key not in _GIVEN})


def write(name: str, given: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
    """Writes expected.json, an event a line."""
    fields = {**{key: given[key] for key in _GIVEN if key in given}, **outcome}
    lines = ",\n".join(f"  {json.dumps(key)}: {_text(value)}" for key, value in fields.items())
    (HERE / name / "expected.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def _text(value: Any, indent: str = "  ") -> str:
    """A line for what fits into one, else one for each of its parts."""
    text = json.dumps(value)
    if len(text) <= 90 or not isinstance(value, (list, dict)) or "type" in value:
        return text
    if set(text) <= set("[] ,"):  # very deep
        return text
    deeper = indent + "  "
    if isinstance(value, dict):
        items = cast(Json, value).items()
        parts = [f"{json.dumps(key)}: {_text(each, deeper)}" for key, each in items]
        start, end = "{", "}"
    else:
        parts = [_text(each, deeper) for each in cast("list[Any]", value)]
        start, end = "[", "]"
    return f"{start}\n{deeper}" + f",\n{deeper}".join(parts) + f"\n{indent}{end}"
