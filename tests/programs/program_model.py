"""The model: which ends of a program are allowed.

It knows nothing of histories, workers or event loops. It evaluates a program's
tree to the set of its allowed outcomes, which has several members where things
race, or where the workflow was asked to stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from program_generator import LONG_MS, Node
from program_patterns import (
    Failure,
    Group,
    Heard,
    Just,
    OneOf,
    Pattern,
    Some,
    Text,
    distinct,
    row,
)

# The value of a run that continues as new.
CONTINUED = "continued"

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Outcomes:
    """How a part may end. None of all means that it never does by itself."""

    values: tuple[Pattern, ...] = ()
    errors: tuple[Pattern, ...] = ()
    cancelled: bool = False

    def __or__(self, other: Outcomes) -> Outcomes:
        return Outcomes(
            distinct(self.values + other.values),
            distinct(self.errors + other.errors),
            self.cancelled or other.cancelled,
        )

    def but(self, *values: Pattern) -> Outcomes:
        """Answer the same with other values."""
        return Outcomes(values, self.errors, self.cancelled)

    @property
    def value(self) -> Pattern:
        return OneOf(self.values)

    @property
    def ends(self) -> Pattern:
        """What `ended` in the interpreter answers: a value, an error, or a cancellation."""
        patterns: list[Pattern] = []
        if self.values:
            patterns.append(row("ok", self.value))
        if self.errors:
            patterns.append(row("failed", OneOf(self.errors)))
        if self.cancelled:
            patterns.append(row("stopped"))
        return OneOf(tuple(patterns))

    def __str__(self) -> str:
        lines = [f"value {value}" for value in self.values]
        lines += [f"error {error}" for error in self.errors]
        lines += ["cancelled"] if self.cancelled else []
        return "\n".join(lines) or "nothing: it never ends"


def outcomes(node: Node, stoppable: bool) -> Outcomes:
    """Evaluate a part.

    Args:
        node: the part.
        stoppable: whether it may be cancelled, any number of times and at any moment, or never is.
    """
    found: Outcomes = _RULES[node["do"]](node, stoppable)
    return Outcomes(found.values, found.errors, found.cancelled or stoppable)


# --- leaves ---


def deed(node: Node) -> Outcomes:
    """How an activity or a step ends when nobody stops it."""
    label, how = f"{node['do'][0]}{node['n']}", node["how"]
    error = "ActivityError" if node["do"] == "activity" else "StepError"
    if how == "fails":
        return _fails(Failure(error, f"ProgramError: {label}", node["times"] + 1))
    if how == "refuses":
        return _fails(Failure(error, f"Refused: {label}", 1))
    if how == "stuck":
        late = "AttemptTimeout: the attempt did not end within 0.15 s"
        return _fails(Failure("ActivityTimeout", late, node["times"] + 1))
    if how == "gone":
        gone = r"Cancelled: activity program\.activity was cancelled"
        perhaps = "(: it was asked to stop, and its worker died)?"
        return _fails(Failure("ActivityCancelled", gone + perhaps, 1, form=True))
    return _is(label)


def _deed(node: Node, stoppable: bool) -> Outcomes:
    return deed(node)


def _is(value: object) -> Outcomes:
    return Outcomes((Just(value),))


def _fails(error: Pattern) -> Outcomes:
    return Outcomes((), (error,))


def _label(node: Node, stoppable: bool) -> Outcomes:
    return _is(f"{node['do']} {node['n']}")


def _version(node: Node, stoppable: bool) -> Outcomes:
    return _is(3)


def _chance(node: Node, stoppable: bool) -> Outcomes:
    drawn = row(Text(_UUID), Text(r"\d.*"), Text(r"\d{4}-.*\+00:00"))
    return Outcomes((drawn,))


def _raise(node: Node, stoppable: bool) -> Outcomes:
    return _fails(Failure("ProgramError", f"raise {node['n']}"))


def _never(node: Node, stoppable: bool) -> Outcomes:
    return Outcomes()


def _signal(node: Node, stoppable: bool) -> Outcomes:
    payloads = tuple(f"{node['n']}.{index}" for index in range(node["count"]))
    if node["by"] == "nobody":
        return Outcomes((Just(["late"] * len(payloads)),))
    return Outcomes((Heard(payloads, node["timeout_ms"] in (None, LONG_MS)),))


def _send(node: Node, stoppable: bool) -> Outcomes:
    """A child that sends its parent signals; it may outlive it for a moment."""
    over = Failure("StepError", "ExecutionFinished: .*", 1, form=True)
    return Outcomes((Just(f"send {node['n']}"),), (over,))


# --- branches ---


def _all(node: Node, stoppable: bool) -> list[Outcomes]:
    return [outcomes(part, stoppable) for part in node["parts"]]


def _together(parts: list[Outcomes]) -> Outcomes:
    """All have to end well, the first error is everybody's."""
    found = Outcomes(
        (row(*(part.value for part in parts)),) if all(part.values for part in parts) else ()
    )
    for part in parts:
        found |= part.but()
    return found


def _seq(node: Node, stoppable: bool) -> Outcomes:
    found, values = Outcomes(), list[Pattern]()
    for part in _all(node, stoppable):
        found |= part.but()
        if not part.values:
            return found  # what comes after is not reached
        values.append(part.value)
    return found.but(row(*values))


def _gather(node: Node, stoppable: bool) -> Outcomes:
    parts = _all(node, stoppable)
    if node["all"]:
        return Outcomes((row(*(part.ends for part in parts)),))
    return _together(parts)


def _group(node: Node, stoppable: bool) -> Outcomes:
    parts = _all(node, stoppable)
    found = _together(parts)
    if not found.errors:
        return found
    stopped = [outcomes(part, True) for part in node["parts"]]  # one that fails stops the others
    errors = distinct(error for part in parts + stopped for error in part.errors)
    return Outcomes(found.values, (Group(errors),), found.cancelled)


def _race(node: Node, stoppable: bool) -> Outcomes:
    found = Outcomes()
    for index, part in enumerate(_all(node, stoppable)):
        found |= part.but(row(f"p{index}", part.value)) if part.values else part
    return found


def _timeout(node: Node, stoppable: bool) -> Outcomes:
    if node["ms"] == LONG_MS:
        return outcomes(node["body"], stoppable)
    inside = outcomes(node["body"], True)  # the timeout is what may stop it
    return Outcomes(inside.values, inside.errors) | _fails(Failure("TimeoutError", ""))


def _each(node: Node, stoppable: bool) -> Outcomes:
    ends = tuple(part.ends for part in _all(node, stoppable))
    return Outcomes((Some(ends, len(ends), sorted=False),))


def _wait(node: Node, stoppable: bool) -> Outcomes:
    parts = _all(node, stoppable)
    ends = tuple(part.ends for part in parts)
    least = 0 if node["timeout_ms"] is not None else 1
    if not least or node["until"] == "first":
        return Outcomes((Some(ends, min(least, len(ends)), sorted=True),))
    if node["until"] == "failure" and any(part.errors for part in parts):
        return Outcomes((Some(ends, 1, sorted=True),))
    return Outcomes((Some(ends, len(ends), sorted=True),))


def _try(node: Node, stoppable: bool) -> Outcomes:
    body, catch = outcomes(node["body"], stoppable), node["catch"]
    found = body.but(row("done", body.value)) if body.values else body
    if body.errors and catch in ("error", "all"):
        caught = Outcomes((), body.errors)
        found = Outcomes(found.values, (), found.cancelled)
        found |= _handled(node, stoppable, caught, OneOf(body.errors))
    if body.cancelled and catch in ("cancel", "all"):
        found = Outcomes(found.values, found.errors)
        found |= _handled(node, stoppable, Outcomes(cancelled=True), Just("stopped"))
    if node["last"] is None:
        return found
    last = outcomes(node["last"], stoppable)
    return found | last.but() if last.values else last.but()


def _handled(node: Node, stoppable: bool, caught: Outcomes, what: Pattern) -> Outcomes:
    handler = outcomes(node["handler"], stoppable)
    if node["again"]:
        return handler.but() | (caught if handler.values else Outcomes())
    return handler.but(row("caught", what, handler.value)) if handler.values else handler


def _again(node: Node, stoppable: bool) -> Outcomes:
    """The end of this run: the next one's is the next one's."""
    body = outcomes(node["body"], stoppable)
    return body.but(Just(CONTINUED)) if body.values else body


def _shield(node: Node, stoppable: bool) -> Outcomes:
    return outcomes(node["body"], False)


def _cancel(node: Node, stoppable: bool) -> Outcomes:
    before = outcomes(node["meanwhile"], stoppable)
    if not before.values:
        return before
    branch = outcomes(node["body"], True)
    ends = [row("stopped")] + ([row("ok", branch.value)] if branch.values else [])
    return before.but(row(before.value, OneOf(tuple(ends)))) | Outcomes((), branch.errors)


def _child(node: Node, stoppable: bool) -> Outcomes:
    how = node["how"]
    if how == "detach":
        return _is(f"child {node['n']}")
    if how == "expire":
        late = "ExecutionTimeout: the execution did not end within its timeout"
        return _fails(Failure("ChildTimeout", late))
    child = _seen_from_above(outcomes(node["body"], False))
    if how == "run":
        return child
    before = outcomes(node["meanwhile"], stoppable)
    if not before.values:
        return before
    if how == "cancel":
        gone = row("failed", Failure("ChildCancelled", "Cancelled: child program was cancelled"))
        return before.but(row(before.value, OneOf((child.ends, gone))))
    found = before.but() | child.but()
    return found.but(row(before.value, child.value)) if child.values else found


def _seen_from_above(child: Outcomes) -> Outcomes:
    """A parent gets the value as it is, and an error as ChildFailed."""
    told = [cast("Failure | Group", error).told("ChildFailed") for error in child.errors]
    return Outcomes(child.values, distinct(told))


_RULES = {
    "activity": _deed,
    "step": _deed,
    "sleep": _label,
    "signal": _signal,
    "send": _send,
    "state": _label,
    "version": _version,
    "chance": _chance,
    "turn": _label,
    "raise": _raise,
    "never": _never,
    "seq": _seq,
    "gather": _gather,
    "group": _group,
    "race": _race,
    "timeout": _timeout,
    "each": _each,
    "wait": _wait,
    "try": _try,
    "shield": _shield,
    "cancel": _cancel,
    "child": _child,
    "again": _again,
}
