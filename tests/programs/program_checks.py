"""What must hold of every program that has ended, whoever died on the way.

All functions answer problems, one sentence each; none of them is good.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from program_evidence import Run, Tree, ended, is_cut_off, is_expired, node_of, who
from program_functions import label
from program_generator import Node, nodes
from program_model import deed, outcomes
from workflows._history import ENDS
from workflows._operations import Event, Execution

FINAL = {"completed", "failed", "cancelled"}

# Closing children takes a look by a worker, and there may be none for a while.
_CLOSING = 20.0
# Clocks of one machine, read by several processes.
_TICK = 0.05

_STARTS = {"activity_scheduled", "child_started", "timer_started", "state_set", "version_marked"}
_STATUSES = {"complete": "completed", "fail": "failed", "continue": "continued"}
_STEPS = {"step_completed", "step_failed"}


def problems(tree: Tree) -> list[str]:
    """Check a program and all that came of it."""
    found = [
        f"{who(row)} has not ended" for row in tree.rows.values() if row["status"] not in FINAL
    ]
    for row in tree.rows.values():
        if row["status"] not in FINAL:
            continue
        checks = (
            [_language, _children, _closed] if row["kind"] == "workflow" else [_language, _attempts]
        )
        found += [f"{who(row)}: {each}" for check in checks for each in check(tree, row)]
        for run in tree.runs_of(row):
            for of_run in (_history, _timers, _steps, _replay, _outcome):
                found += [f"{run}: {each}" for each in of_run(tree, run)]
    return found


# --- runs of workflows ---


def _history(_: Tree, run: Run) -> Iterator[str]:
    """Positions have no gaps; each sequence is commanded once and ends at most once."""
    events = run.events
    if [event["position"] for event in events] != list(range(1, len(events) + 1)):
        yield f"positions are {[event['position'] for event in events]}"
    if run.is_last and run.row["history_length"] != len(events):
        yield f"its length is {run.row['history_length']}, and there are {len(events)} events"
    open_ones: dict[int, str] = {}
    begun: Counter[int] = Counter()
    for event in events:
        sequence, kind = event.get("sequence", 0), event["type"]
        if kind in _STARTS | _STEPS:
            begun[sequence] += 1
            open_ones[sequence] = kind.partition("_")[0]
        elif kind in ENDS and open_ones.pop(sequence, None) != kind.partition("_")[0]:
            yield f"{kind} of {sequence} at {event['position']} ends nothing that is open"
    yield from (f"{sequence} is commanded {n} times" for sequence, n in begun.items() if n > 1)
    once = Counter(event["type"] for event in events)
    for kind in ("started", "cancel_requested", "continued"):
        if once[kind] > 1:
            yield f"{once[kind]} times {kind}"
    end = str(events[-1]["type"]) if events else ""
    if run.is_last == (end == "continued"):
        yield f"of {run.row['run']} runs it is the {run.number}th, and ends with {events[-1:]}"


def _timers(_: Tree, run: Run) -> Iterator[str]:
    """A timer never fires early."""
    due: dict[int, float] = {}
    for event in run.events:
        sequence, at = event.get("sequence", 0), _seconds(event["at"])
        if event["type"] == "timer_started":
            payload: Any = event.get("payload")
            due[sequence] = at + payload["delay_ms"] / 1000
        elif event["type"] == "timer_fired" and at < due.get(sequence, 0) - _TICK:
            yield f"timer {sequence} fired {due[sequence] - at:.3f} s early"


def _steps(tree: Tree, run: Run) -> Iterator[str]:
    """What is recorded of a step was done, and is not done again."""
    known = {label(node): node for node in nodes(run.node, children=False) if node["do"] == "step"}
    for event in run.events:
        if event["type"] not in _STEPS or event.get("name") == "workflows.send_signal":
            continue
        payload: Any = event.get("payload")
        name: str = payload if event["type"] == "step_completed" else payload["message"]
        if name in known:
            yield from _step(tree, run.row, known[name], event)
        else:
            yield f"{event['type']} at {event['position']} is of no step of its own: {payload}"


def _step(tree: Tree, row: Execution, node: Node, event: Event) -> Iterator[str]:
    name, payload = label(node), event.get("payload")
    ends = [entry for entry in tree.noted(row["id"], "ended") if entry["what"] == name]
    begins = [entry for entry in tree.noted(row["id"], "began") if entry["what"] == name]
    if not ends:
        yield f"step {name} is recorded, and its body never ended"
    again = [
        entry
        for entry in begins
        if entry["now"] > _seconds(event["at"]) + _TICK and entry["worker"] not in tree.zombies
    ]
    if again:
        yield f"step {name} is recorded at {event['at']}, and was run again: {again}"
    found: list[Any] = ["ok", payload]
    if event["type"] == "step_failed":
        error: Any = payload
        attempts = error["details"]["attempts"]
        found = ["failed", ["StepError", f"{error['type']}: {error['message']}", attempts]]
        if attempts > max(Counter(entry["worker"] for entry in begins).values(), default=0):
            yield f"step {name} failed after {attempts} attempts, and began {len(begins)} times"
    if not deed(node).ends.allows(found):
        yield f"step {name} is recorded as {found}, not {deed(node)}"


def _replay(_: Tree, run: Run) -> Iterator[str]:
    """Every prefix of the history replays, and the same in every process."""
    first, row = run.replays[0], run.row
    yield from first["problems"]
    for other in run.replays[1:]:
        if other != first:
            yield f"two processes replay it differently: {first} and {other}"
    end = first["end"]
    if first["outcome"] is None or run.is_cut_off or (run.is_last and row["status"] == "cancelled"):
        return
    then = _STATUSES.get(end["then"], end["then"])
    if then != (row["status"] if run.is_last else "continued"):
        yield f"replayed it {then}"
    elif then == "completed" and end["result"] != row.get("result"):
        yield f"replayed it answers {end['result']}, and it answered {row.get('result')}"
    elif then == "failed" and _shown(end["error"]) != _shown(row.get("error")):
        yield f"replayed it fails with {end['error']}, and it failed with {row.get('error')}"


def _shown(error: Any) -> Any:
    return error and (error["type"], error["message"])


def _outcome(_: Tree, run: Run) -> Iterator[str]:
    """The code ended as the model allows."""
    row, outcome = run.row, run.replays[0]["outcome"]
    if outcome is not None:
        allowed = outcomes(run.node, run.asked_to_stop)
        if not allowed.ends.allows(outcome):
            yield f"it ended {json.dumps(outcome)}, and the model allows only\n{allowed}"
    elif run.began and not run.is_cut_off:
        yield f"it ended without its code: {row.get('error')}"
    if not run.is_last:
        return
    if run.is_cut_off:
        if not is_expired(row):
            yield f"it was ended from outside: {row.get('error')}"
    elif row["status"] != "cancelled" and run.asked_to_stop:
        yield "it was asked to stop"
    elif row["status"] == "cancelled" and run.began and not run.asked_to_stop:
        yield "it was not asked to stop"


# --- languages ---


def _language(tree: Tree, row: Execution) -> Iterator[str]:
    """A queue is served by its language alone, steps by that of their workflow."""
    for run in tree.runs_of(row):
        if run.language != row["queue"]:
            yield f"code in {run.language} ran it, which does not serve {row['queue']}"
    for entry in tree.bodies.get(row["id"], ()):
        if entry["lang"] != row["queue"]:
            yield f"a body in {entry['lang']} ran, which does not serve {row['queue']}: {entry}"


# --- children ---


def _children(tree: Tree, row: Execution) -> Iterator[str]:
    """Each scheduled event has its execution, and each outcome is that execution's."""
    children = {child["id"]: child for child in tree.children(row)}
    asked: dict[str, int] = {}
    for run in tree.runs_of(row):
        by_sequence: dict[int, Execution] = {}
        for event in run.events:
            sequence = event.get("sequence", 0)
            if event["type"] in ("activity_scheduled", "child_started"):
                id = cast("Any", event.get("payload"))["id"]
                asked[id] = sequence
                if id in children:
                    by_sequence[sequence] = children[id]
            elif event["type"] in ENDS and sequence in by_sequence:
                yield from _told(event, by_sequence[sequence])
    if asked != {id: child.get("sequence") for id, child in children.items()}:
        yield f"it asked for {asked}, and there are {children}"


def _told(event: Event, child: Execution) -> Iterator[str]:
    status = event["type"].partition("_")[2]
    if child["status"] != status and not (status == "cancelled" and is_cut_off(child)):
        yield f"{event['type']} of {who(child)}"
    payload: Any = event.get("payload")
    if status == "completed" and payload != child.get("result"):
        yield f"it was told {payload} of {who(child)}, which answered {child.get('result')}"
    if status == "failed" and payload["error"] != child.get("error"):
        yield f"it was told {payload} of {who(child)}, which failed with {child.get('error')}"


def _closed(tree: Tree, row: Execution) -> Iterator[str]:
    """Nothing goes on when its parent has ended, unless it was detached."""
    detached = [
        node["body"]
        for root in tree.nodes(row)
        for node in nodes(root)
        if node["do"] == "child" and node["how"] == "detach"
    ]
    for child in tree.children(row):
        if child["status"] in ("completed", "failed") and node_of(child) not in detached:
            late = _seconds(child.get("finished_at", "")) - _seconds(row.get("finished_at", ""))
            if late > _CLOSING:
                yield f"{who(child)} ended {late:.1f} s after it"


# --- activities ---


def _attempts(tree: Tree, row: Execution) -> Iterator[str]:
    """A body ran as often as it was begun, and it did what its part of the program says."""
    node, status = node_of(row), row["status"]
    begins = tree.noted(row["id"], "began")
    done = ended(row)
    if status != "cancelled" and done > len(begins):
        yield f"{done} attempts have an outcome, and the body began {len(begins)} times"
    if not row["releases"]:
        if len(begins) > row["attempts"]:
            yield f"it has {row['attempts']} attempts, and the body began {len(begins)} times"
        twice = [
            n for n, times in Counter(entry["attempt"] for entry in begins).items() if times > 1
        ]
        if twice:
            yield f"the body began twice in the attempts {twice}"
    if status == "completed" and not tree.noted(row["id"], "ended"):
        yield "it completed, and the body never ended"
    yield from _deed(row, node, calm=row["attempts"] == done)


def _deed(row: Execution, node: Node, calm: bool) -> Iterator[str]:
    how, times = node["how"], node.get("times", 0)
    if row["status"] == "cancelled" or is_expired(row):
        return
    if how in ("endless", "gone"):
        yield f"only a cancel ends what is {how}"
    elif how == "sends":
        error: Any = row.get("error") or {}
        if row["status"] == "failed" and error["type"] != "ExecutionFinished":
            yield f"it could not send: {error}"
    elif row["status"] == "completed" and not deed(node).ends.allows(["ok", row.get("result")]):
        yield f"it answered {row.get('result')}, not {deed(node)}"
    elif row["status"] == "failed":
        yield from _failed(row, node)
    if how == "flaky" and (row["failures"] > times or (calm and row["failures"] != times)):
        yield f"it failed {row['failures']} times, not {times}"


def _failed(row: Execution, node: Node) -> Iterator[str]:
    error: Any = row.get("error") or {}
    kind = "ActivityTimeout" if error.get("type") == "AttemptTimeout" else "ActivityError"
    text = f"{error.get('type')}: {error.get('message')}"
    found = ["failed", [kind, text, row["attempts"]]]
    expected = deed(node)
    if not expected.ends.allows(found):
        yield f"it ended {found}, not {expected}"
    tries = 1 if node["how"] == "refuses" else node.get("times", 0) + 1
    if row["failures"] != tries:
        yield f"it failed {row['failures']} times, not {tries}"


@functools.lru_cache(maxsize=100_000)
def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
