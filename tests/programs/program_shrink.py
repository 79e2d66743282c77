"""Smaller programs, to find the smallest one that still fails."""

from __future__ import annotations

from collections.abc import Iterator

from program_generator import LONG_MS, Node, nodes

_PLACES = ("body", "handler", "last", "meanwhile", "next")


def smaller(node: Node) -> Iterator[Node]:
    """Answer every program that is one step smaller and ends, the smallest first."""
    found = {str(each): each for each in _steps(node) if is_sound(each)}
    yield from sorted(found.values(), key=size)


def size(node: Node) -> int:
    """Count the parts of a program."""
    return sum(1 for _ in nodes(node))


def _steps(node: Node) -> Iterator[Node]:
    if node["do"] != "turn":
        yield {"do": "turn", "n": node["n"]}
    parts = node.get("parts", [])
    yield from parts
    for index in range(len(parts)):
        yield {**node, "parts": parts[:index] + parts[index + 1 :]}
        for other in _steps(parts[index]):
            yield {**node, "parts": [*parts[:index], other, *parts[index + 1 :]]}
    for place in _PLACES:
        if node.get(place) is not None:
            yield node[place]
            for other in _steps(node[place]):
                yield {**node, place: other}
    if node.get("last") is not None:
        yield {**node, "last": None}


def is_sound(node: Node) -> bool:
    """Say whether a program ends, whatever happens to it."""
    if node["do"] in ("race", "each", "wait") and not node["parts"]:
        return False
    return ends(node) and all(
        ends(each[place])
        for each in nodes(node)
        for place in ("handler", "last", "meanwhile")
        if each.get(place) is not None
    )


def ends(node: Node) -> bool:
    """Say whether a part is sure to end when nobody cancels it."""
    parts: list[Node] = node.get("parts", [])
    match node["do"]:
        case "never":
            return False
        case "race":
            return any(ends(part) for part in parts)
        case "wait":
            some = node["until"] == "first" and any(ends(part) for part in parts)
            return some or node["timeout_ms"] is not None or all(ends(part) for part in parts)
        case "group":
            fails = any(part.get("how") == "fails" for part in parts)
            return fails or all(ends(part) for part in parts)
        case "timeout":
            return node["ms"] < LONG_MS or ends(node["body"])
        case "cancel":
            return ends(node["meanwhile"])
        case "child":
            stopped = node["how"] in ("cancel", "expire")
            return (stopped or ends(node["body"])) and ends(node["meanwhile"] or {"do": "turn"})
        case _:
            below = [*parts, *(node[p] for p in _PLACES if node.get(p) is not None)]
            return all(ends(part) for part in below)
