"""What is known of a program that has run: rows, histories, replays, and what bodies noted."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from program_generator import Node, Program
from program_model import outcomes
from workflows._operations import Event, Execution

Json = dict[str, Any]
Entry = Mapping[str, Any]


@dataclass
class Run:
    """One go of a workflow: continuing as new starts the next."""

    row: Execution
    number: int
    node: Node
    events: list[Event]
    # What each of the replaying processes answered.
    replays: list[Json] = field(default_factory=list[Json])

    @property
    def is_last(self) -> bool:
        return self.number == self.row["run"]

    @property
    def is_cut_off(self) -> bool:
        return self.is_last and is_cut_off(self.row)

    @property
    def asked_to_stop(self) -> bool:
        return any(event["type"] == "cancel_requested" for event in self.events)

    @property
    def language(self) -> str:
        """Whose code ran it, as history has it; whose would have if it never began."""
        told: Any = next((each.get("payload") for each in self.events if _begins(each)), None)
        return told["language"] if told else self.row["queue"]

    @property
    def began(self) -> bool:
        return any(_begins(event) for event in self.events)

    def __str__(self) -> str:
        return who(self.row) if self.is_last else f"run {self.number} of {who(self.row)}"


@dataclass
class Tree:
    """A program's executions, and what they did."""

    program: Program
    root: str
    rows: dict[str, Execution] = field(default_factory=dict[str, Execution])
    runs: list[Run] = field(default_factory=list[Run])
    # The journal, by execution.
    bodies: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])
    # Workers that may have gone on after their leases were lost.
    zombies: set[str] = field(default_factory=set[str])

    def workflows(self) -> Iterator[Execution]:
        return (row for row in self.rows.values() if row["kind"] == "workflow")

    def runs_of(self, row: Execution) -> list[Run]:
        return [run for run in self.runs if run.row is row]

    def children(self, of: Execution) -> list[Execution]:
        return [row for row in self.rows.values() if row.get("parent_id") == of["id"]]

    def noted(self, id: str, event: str) -> list[Entry]:
        return [entry for entry in self.bodies.get(id, ()) if entry["event"] == event]

    def nodes(self, row: Execution) -> list[Node]:
        """Answer what a workflow ran: one program a run, each the next one's beginning."""
        if row["id"] != self.root:
            return [node_of(row)]
        found = [self.program.root]
        while len(found) < row["run"]:
            found.append(found[-1].get("next") or node_of(row))
        return found


def _begins(event: Event) -> bool:
    return event["type"] == "started"


def node_of(row: Execution) -> Node:
    """Answer the part of the program that an execution runs."""
    arguments: Any = row.get("args")
    return arguments[0]


def is_cut_off(row: Execution) -> bool:
    """Say whether a workflow was ended from outside, without its code."""
    error: Any = row.get("error") or {}
    return row["status"] == "failed" and error.get("language") == "core"


def is_expired(row: Execution) -> bool:
    """Say whether its own deadline, or that of what it belongs to, ended an execution."""
    error: Any = row.get("error")
    return is_cut_off(row) and "deadline_at" in row and error["type"] == "ExecutionTimeout"


def ended(row: Execution) -> int:
    """Answer how many attempts have an outcome."""
    return row["failures"] + (row["status"] == "completed")


def who(row: Execution) -> str:
    """Name an execution."""
    return f"{row['kind']} {row['name']} {row['id']} ({row['status']})"


def describe(tree: Tree) -> str:
    """Tell everything that is known, for whoever looks for what went wrong."""
    program = tree.program
    lines = [
        f"in {program.language}, cancelled after {program.cancel_ms} ms: {json.dumps(program.root)}"
    ]
    for row in sorted(tree.rows.values(), key=lambda row: row["id"]):
        lines.append(f"\n--- {who(row)}: {_short(row)}")
        for run in tree.runs_of(row):
            lines.append(f"run {run.number}; allowed:\n{outcomes(run.node, run.asked_to_stop)}")
            lines += [_short(event) for event in run.events]
            lines += [f"  replayed {_short(each)}" for each in run.replays]
        lines += [f"  did {_short(entry)}" for entry in tree.bodies.get(row["id"], ())]
    return "\n".join(lines)


def _short(value: Any) -> str:
    return re.sub(r', "stack": "(\\.|[^"\\])*"', "", json.dumps(value))


def by_language(trees: Sequence[Tree]) -> Counter[tuple[str, str]]:
    """Count programs, and the executions that came of them by kind, in each language."""
    found = Counter(("program", tree.program.language) for tree in trees)
    rows = [row for tree in trees for row in tree.rows.values()]
    return found + Counter((row["kind"], row["queue"]) for row in rows)


def counted(trees: Sequence[Tree]) -> str:
    """Count what a slice came to."""
    rows = [row for tree in trees for row in tree.rows.values()]
    roots = Counter(tree.rows[tree.root]["status"] for tree in trees if tree.rows)
    again = sum(row["kind"] != "workflow" and row["attempts"] > ended(row) > 0 for row in rows)
    events = sum(len(run.events) for tree in trees for run in tree.runs)
    statuses = ", ".join(f"{count} {status}" for status, count in roots.most_common())
    return f"{statuses}; {len(rows)} executions, {events} events, {again} bodies run again"
