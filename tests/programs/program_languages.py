"""Which language runs which part of a program: the model knows nothing of it.

Steps run in the language of their workflow, all else that a workflow starts in one of its
own, which its node names as "lang". Each language has a queue of its name, and functions of
the same names.
"""

from __future__ import annotations

from collections.abc import Callable

from program_generator import Dice, Node, Program
from program_generator import program as grown

LANGUAGES = ("python", "node")

_PLACES = ("body", "handler", "last", "meanwhile", "next")


def program(seed: int, *, continues: bool = False) -> Program:
    """Make the program of a seed, in its languages: the same one in every process.

    Args:
        seed: any number.
        continues: whether some programs continue as new.
    """
    # Dice of their own, so that the programs stay what they were before there were languages.
    dice, plain = Dice(~seed), grown(seed, continues=continues)
    language = dice.pick(LANGUAGES)
    root = _changed(plain.root, language, lambda node, _: _assigned(node, dice))
    return Program(seed, fit(root, language), plain.cancel_ms, language)


def fit(root: Node, language: str) -> Node:
    """Answer a program in which no language is asked for what it does not have."""
    return _changed(root, language, _feasible)


def starts(node: Node) -> bool:
    """Say whether a part starts an activity or a child, which have a language of their own."""
    what = node.get("what") if node["do"] == "never" else node.get("by", node["do"])
    return what in ("activity", "child")


def _assigned(node: Node, dice: Dice) -> Node:
    return {**node, "lang": dice.pick(LANGUAGES)} if starts(node) else node


def _feasible(node: Node, language: str) -> Node:
    """Leave out what only Python has; how a part may end is the same without it."""
    if node.get("how") == "thread":  # bodies of Node run on its one event loop
        if node["do"] == "activity":
            return {**node, "lang": "python"}
        if language == "node":
            return {**node, "how": "ok"}
    if node["do"] == "sleep" and language == "node":  # setTimeout is refused in workflow code
        return {**node, "plain": False}
    return node


def _changed(node: Node, language: str, change: Callable[[Node, str], Node]) -> Node:
    """Answer a tree with each part changed, from the top, given its workflow's language."""
    changed = {**change(node, language)}
    if "parts" in changed:
        changed["parts"] = [_changed(part, language, change) for part in changed["parts"]]
    for place in _PLACES:
        if changed.get(place) is not None:
            is_child = changed["do"] == "child" and place == "body"
            within = changed.get("lang", language) if is_child else language
            changed[place] = _changed(changed[place], within, change)
    return changed
