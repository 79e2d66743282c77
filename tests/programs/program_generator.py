"""Random workflow programs, as trees of plain JSON, each made from its seed.

A node is {"do": what, "n": label, ...}; labels are unique within a program. The
interpreter in program_functions runs it, program_model says how it may end, and
program_languages says which part runs in which language.

By construction every program ends: what never ends by itself ("never") stands
only where something beside it does, and cancels it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

Node = dict[str, Any]

# Longer than any test runs.
LONG_MS = 3_600_000

_MASK = (1 << 64) - 1
_MAX_DEPTH = 5
_GENERATIONS = 2


class Dice:
    """A random generator of our own (splitmix64): the same in every version of Python."""

    def __init__(self, seed: int) -> None:
        self._state = (seed * 0xD1342543DE82EF95 + 0x2545F4914F6CDD1D) & _MASK

    def roll(self) -> int:
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def between(self, low: int, high: int) -> int:
        """Answer a whole number, both ends included."""
        return low + self.roll() % (high - low + 1)

    def chance(self, percent: int) -> bool:
        return self.roll() % 100 < percent

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.roll() % len(choices)]

    def weighted(self, weights: Mapping[T, int]) -> T:
        left = self.roll() % sum(weights.values())
        for choice, weight in weights.items():
            left -= weight
            if left < 0:
                return choice
        raise AssertionError("the weights add up")


@dataclass(frozen=True)
class Program:
    """A program, and what is done to it from outside."""

    seed: int
    root: Node
    # When it is cancelled from outside, counted from its start; None for never.
    cancel_ms: int | None = None
    # Of its root.
    language: str = "python"


def program(seed: int, *, continues: bool = False) -> Program:
    """Make the program of a seed: the same one in every process.

    Args:
        seed: any number.
        continues: whether some programs continue as new. Those that do not stay as they are.
    """
    dice = Dice(seed)
    grower = Grower(dice, fuel=dice.between(6, 44))
    root = grower.root()
    cancel_ms = dice.between(0, 1500) if dice.chance(20) else None
    if continues and dice.chance(25):
        root = grower.continued(root, dice.between(4, 20))
    return Program(seed, root, cancel_ms)


def nodes(node: Node, *, children: bool = True) -> Iterator[Node]:
    """Walk a tree from the top; on request not into what child workflows run."""
    yield node
    for below in _below(node):
        if children or node["do"] != "child" or below is not node["body"]:
            yield from nodes(below, children=children)


def _may_fail(node: Node) -> bool:
    return node["do"] == "raise" or node.get("how") in _FAILING


def _below(node: Node) -> Iterator[Node]:
    yield from node.get("parts", ())
    for place in ("body", "handler", "last", "meanwhile", "next"):
        if node.get(place) is not None:
            yield node[place]


_LEAVES = {
    "activity": 34,
    "step": 16,
    "sleep": 12,
    "signal": 16,
    "state": 4,
    "version": 5,
    "chance": 5,
    "turn": 2,
    "raise": 1,
}
_BRANCHES = {
    "seq": 16,
    "gather": 14,
    "group": 10,
    "race": 14,
    "timeout": 9,
    "each": 5,
    "wait": 7,
    "try": 18,
    "shield": 5,
    "cancel": 8,
    "child": 14,
    "leaf": 24,
}
# What an activity or a step does.
_DEEDS = {"ok": 40, "flaky": 20, "slow": 14, "thread": 10, "fails": 4, "refuses": 2}
_DEEDS_OF_ACTIVITIES = {**_DEEDS, "beats": 8, "stuck": 2, "gone": 2}
_FAILING = {"fails", "refuses", "stuck", "gone", "expire"}
_NEVER = {"signal": 6, "sleep": 6, "activity": 6, "child": 3, "step": 3}


class Grower:
    """Grows one program, or the program of a child within it."""

    def __init__(self, dice: Dice, fuel: int) -> None:
        self._dice = dice
        self._fuel = fuel
        self._count = 0
        self._generation = 0

    def root(self) -> Node:
        """Grow a whole program: a few parts one after another."""
        return self._new("seq", parts=[self._tamed(part) for part in self._parts(1, 3, 6)])

    def continued(self, root: Node, fuel: int) -> Node:
        """Let a program continue as another one."""
        self._fuel = fuel
        return self._new("again", body=root, next=self.root())

    def _tamed(self, part: Node) -> Node:
        """Mostly catch what may fail, so that what comes after it is reached."""
        if self._dice.chance(20) or not any(_may_fail(node) for node in nodes(part)):
            return part
        return self._new(
            "try",
            body=part,
            catch=self._dice.pick(("error", "all")),
            handler=self._leaf(),
            last=None,
            again=False,
        )

    def _new(self, do: str, **fields: Any) -> Node:
        self._count += 1
        return {"do": do, "n": self._count, **fields}

    def _parts(self, depth: int, least: int, most: int) -> list[Node]:
        return [self._part(depth) for _ in range(self._dice.between(least, most))]

    def _part(self, depth: int) -> Node:
        self._fuel -= 1
        if depth >= _MAX_DEPTH or self._fuel <= 0:
            return self._leaf()
        kind = self._dice.weighted(_BRANCHES)
        if kind == "child" and self._generation >= _GENERATIONS:
            kind = "leaf"
        return getattr(self, f"_{kind}")(depth + 1)

    # --- leaves ---

    def _leaf(self, depth: int = 0) -> Node:
        kind = self._dice.weighted(_LEAVES)
        return getattr(self, f"_{kind}")()

    def _activity(self) -> Node:
        return self._deed("activity", self._dice.weighted(_DEEDS_OF_ACTIVITIES))

    def _step(self) -> Node:
        return self._deed("step", self._dice.weighted(_DEEDS))

    def _deed(self, do: str, how: str) -> Node:
        node = self._new(do, how=how)
        if how == "flaky":
            node["times"] = self._dice.between(1, 3)
        elif how in ("fails", "stuck"):
            node["times"] = self._dice.between(0, 2 if how == "fails" else 1)
        elif how in ("slow", "beats"):
            node["ms"] = self._dice.between(20, 400)
        return node

    def _sleep(self) -> Node:
        ms = self._dice.pick((0, 1, 10, 40, 100, 200, 300))
        return self._new("sleep", ms=ms, plain=self._dice.chance(30) and ms > 0)

    def _signal(self) -> Node:
        by = self._dice.weighted(
            {"harness": 6, "early": 3, "activity": 4, "child": 3, "self": 2, "nobody": 2}
        )
        limited = by == "nobody" or self._dice.chance(35)
        short = by == "nobody" or self._dice.chance(70)
        return self._new(
            "signal",
            by="harness" if by == "early" and self._generation else by,
            count=self._dice.between(1, 3),
            together=self._dice.chance(40),
            timeout_ms=None if not limited else self._dice.between(10, 300) if short else LONG_MS,
        )

    def _state(self) -> Node:
        return self._new("state")

    def _version(self) -> Node:
        return self._new("version", change=f"change {self._dice.between(1, 3)}")

    def _chance(self) -> Node:
        return self._new("chance")

    def _turn(self) -> Node:
        return self._new("turn")

    def _raise(self) -> Node:
        return self._new("raise")

    def _never(self, depth: int) -> Node:
        """Grow what only a cancel ends, perhaps with something to clean up."""
        what = self._dice.weighted(_NEVER)
        if what == "child" and self._generation >= _GENERATIONS:
            what = "signal"
        node = self._new("never", what=what)
        if depth < _MAX_DEPTH and self._dice.chance(35):
            return self._new(
                "try",
                body=node,
                catch=self._dice.pick(("cancel", "all", None)),
                handler=self._cleanup(depth + 1),
                last=self._cleanup(depth + 1) if self._dice.chance(30) else None,
                again=self._dice.chance(60),
            )
        return node

    def _cleanup(self, depth: int) -> Node:
        if self._dice.chance(40):
            return self._new("shield", body=self._part(depth), bare=self._dice.chance(50))
        return self._part(depth)

    # --- branches ---

    def _seq(self, depth: int) -> Node:
        return self._new("seq", parts=self._parts(depth, 2, 4))

    def _gather(self, depth: int) -> Node:
        return self._new(
            "gather",
            all=self._dice.chance(40),
            bare=self._dice.chance(50),
            parts=self._parts(depth, 0 if self._dice.chance(10) else 2, 4),
        )

    def _group(self, depth: int) -> Node:
        parts = self._parts(depth, 1, 4)
        if self._dice.chance(25):  # one that surely fails ends one that never would
            parts.append(self._deed("activity", "fails"))
            parts.append(self._never(depth))
        return self._new("group", bare=self._dice.chance(50), parts=parts)

    def _race(self, depth: int) -> Node:
        parts = [self._part(depth)]
        for _ in range(self._dice.between(1, 2)):
            parts.append(self._never(depth) if self._dice.chance(25) else self._part(depth))
        if self._dice.chance(50):
            parts.reverse()
        return self._new("race", bare=self._dice.chance(50), parts=parts)

    def _timeout(self, depth: int) -> Node:
        if self._dice.chance(35):
            return self._new("timeout", ms=LONG_MS, body=self._part(depth))
        body = self._never(depth) if self._dice.chance(40) else self._part(depth)
        return self._new("timeout", ms=self._dice.between(5, 300), body=body)

    def _each(self, depth: int) -> Node:
        return self._new("each", bare=self._dice.chance(50), parts=self._parts(depth, 1, 4))

    def _wait(self, depth: int) -> Node:
        until = self._dice.pick(("first", "failure", "all"))
        limited = self._dice.chance(40)
        parts = self._parts(depth, 1, 3)
        if limited or until == "first":
            parts += [self._never(depth)] if self._dice.chance(25) else []
        return self._new(
            "wait",
            until=until,
            timeout_ms=self._dice.between(5, 300) if limited else None,
            bare=self._dice.chance(50),
            parts=parts,
        )

    def _try(self, depth: int) -> Node:
        return self._new(
            "try",
            body=self._part(depth),
            catch=self._dice.pick(("error", "error", "all", "cancel", None)),
            handler=self._cleanup(depth),
            last=self._cleanup(depth) if self._dice.chance(40) else None,
            again=self._dice.chance(30),
        )

    def _shield(self, depth: int) -> Node:
        return self._new("shield", body=self._part(depth), bare=self._dice.chance(50))

    def _cancel(self, depth: int) -> Node:
        body = self._never(depth) if self._dice.chance(35) else self._part(depth)
        return self._new(
            "cancel", body=body, meanwhile=self._part(depth), bare=self._dice.chance(50)
        )

    def _child(self, depth: int) -> Node:
        how = self._dice.weighted({"run": 8, "queue": 6, "detach": 3, "cancel": 4, "expire": 2})
        self._generation += 1
        body = self._part(depth)
        if how == "expire" or (how == "cancel" and self._dice.chance(40)):
            body = self._never(depth)
        self._generation -= 1
        meanwhile = self._part(depth) if how in ("queue", "cancel") else None
        return self._new("child", how=how, body=body, meanwhile=meanwhile)
