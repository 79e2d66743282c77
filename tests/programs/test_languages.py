"""Which language runs which part of a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from program_generator import Node, nodes
from program_generator import program as grown
from program_languages import LANGUAGES, fit, program, starts

PAIRS = [(one, other) for one in LANGUAGES for other in LANGUAGES]
FIFTY = [program(seed, continues=True) for seed in range(1, 51)]


def spoken(root: Node, language: str) -> Iterator[tuple[str, Node]]:
    """Walk a program as `nodes` does, and answer with each part its workflow's language."""
    for node in nodes(root, children=False):
        yield language, node
        if node["do"] == "child":
            yield from spoken(node["body"], node["lang"])


def parts() -> list[tuple[str, Node]]:
    """Each part of the first programs, with the language of its workflow."""
    return [each for found in FIFTY for each in spoken(found.root, found.language)]


def test_a_seed_gives_the_same_languages_in_every_process() -> None:
    assert [found.language for found in FIFTY[:8]] == PINNED


PINNED = ["node", "node", "python", "python", "python", "python", "node", "node"]


@pytest.mark.parametrize("do", ["child", "activity", "signal", "never"])
@pytest.mark.parametrize("pair", PAIRS)
def test_each_language_starts_what_is_of_each(do: str, pair: tuple[str, str]) -> None:
    found = Counter((language, node["lang"]) for language, node in parts() if is_of(node, do))
    assert found[pair] > 0


def is_of(node: Node, do: str) -> bool:
    return node["do"] == do and "lang" in node


def test_each_language_runs_every_kind_of_part() -> None:
    kinds = {language: {do for lang, do in done() if lang == language} for language in LANGUAGES}
    assert kinds["python"] == kinds["node"] | {"sleep plain", "step thread"}


def done() -> list[tuple[str, str]]:
    """What workflows in each language do: part and variety."""
    found: list[tuple[str, str]] = []
    for language, node in parts():
        more = [node[at] for at in ("how", "by", "what", "until", "catch") if node.get(at)]
        more += ["plain"] if node.get("plain") else []
        found.append((language, " ".join([node["do"], *more])))
    return found


def test_what_starts_nothing_has_no_language_of_its_own() -> None:
    for _, node in parts():
        assert ("lang" in node) == starts(node), node
        assert not ("lang" in node and node["do"] == "step")


def test_languages_change_nothing_else_of_a_program() -> None:
    for seed in range(1, 101):
        before, after = grown(seed, continues=True), program(seed, continues=True)
        assert (after.seed, after.cancel_ms) == (before.seed, before.cancel_ms)
        for was, node in zip(nodes(before.root), nodes(after.root), strict=True):
            assert told(node) == told(was)


def told(node: Node) -> dict[str, Any]:
    """What a part says of itself, but for what a language may lack."""
    how = "ok" if node.get("how") == "thread" else node.get("how")
    return {
        key: value for key, value in node.items() if isinstance(value, (str, int, type(None)))
    } | {"how": how, "lang": None, "plain": None}


def test_a_part_that_moves_into_another_language_fits_there() -> None:
    thread: Node = {"do": "step", "n": 1, "how": "thread"}
    sleep: Node = {"do": "sleep", "n": 2, "ms": 1, "plain": True}
    activity: Node = {"do": "activity", "n": 3, "how": "thread", "lang": "node"}
    root: Node = {"do": "seq", "n": 4, "parts": [thread, sleep, activity]}
    child: Node = {"do": "child", "n": 5, "how": "run", "lang": "node", "body": root}
    assert fit(root, "python")["parts"] == [thread, sleep, {**activity, "lang": "python"}]
    fitting = [{**thread, "how": "ok"}, {**sleep, "plain": False}, {**activity, "lang": "python"}]
    assert fit(root, "node")["parts"] == fitting
    assert fit(child, "python")["body"]["parts"] == fitting
