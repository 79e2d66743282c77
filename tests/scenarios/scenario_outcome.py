"""What came of a workflow, without what differs from run to run: ids, times, stacks."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

Json = dict[str, Any]

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)")
_PLACE = re.compile(r"\S+[/.]scenarios/\w+/workflow\.(py|ts):\d+(:\d+)?")
_NAN = re.compile(r"\bnan\b")  # as Python calls it
_BATCH = re.compile(r"\bitems\[\d+\]")  # whatever was written together with it
_LONG = 2000
# What stands under this name differs from run to run; replays compare it all the same.
_BY_CHANCE = "by chance"
# Of an error that the adapters made; which language it was raised in is the way's matter.
_LEFT_OUT = ("stack", "language")


def outcome(
    execution: Mapping[str, Any],
    histories: Sequence[Sequence[Mapping[str, Any]]],
    descendants: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    seen: Sequence[Any],
) -> Json:
    """Answers what expected.json holds."""
    told: Json = {"status": execution["status"]}
    for field in ("parked", "result", "error", "state", "progress"):
        if execution.get(field) is not None or (field == "result" and "result" in execution):
            told[field] = execution[field]
    if seen:
        told["seen"] = list(seen)
    if notes:
        told["notes"] = list(notes)
    if descendants:
        told["descendants"] = _counted(descendants)
    told["runs"] = [[_event(event) for event in history] for history in histories]
    return cast(Json, steady(told, execution["id"]))


def _counted(executions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Says of each function how its executions ended: "2 completed, 1 failed"."""
    counts: dict[str, Counter[str]] = {}
    for each in executions:
        how = f"{each['status']}{_priority(each)}"
        counts.setdefault(each["name"], Counter())[how] += 1
    return {
        name: ", ".join(f"{count} {how}" for how, count in sorted(hows.items()))
        for name, hows in counts.items()
    }


def _priority(execution: Mapping[str, Any]) -> str:
    return "" if execution["priority"] == 5 else f" with priority {execution['priority']}"


def _event(event: Mapping[str, Any]) -> Json:
    told = {key: event[key] for key in ("type", "sequence", "name", "payload") if key in event}
    if event["type"] == "started":
        del told["payload"]  # the language and its version
    return told


def steady(value: Any, root: str) -> Any:
    """Answers a value without ids, places in code, and stacks of errors."""
    if isinstance(value, str):
        return _steady_text(value.replace(root, "<this workflow>"))
    if isinstance(value, list):
        return [steady(each, root) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        fields = cast(Json, value)
        is_error = {"type", "message"} <= fields.keys()
        return {
            key: "<whatever>" if key == _BY_CHANCE else steady(each, root)
            for key, each in fields.items()
            if not (is_error and key in _LEFT_OUT)
        }
    return value


def _steady_text(text: str) -> str:
    if len(text) > _LONG:
        return f"<{len(text)} characters: {text[:20]}...{text[-20:]}>"
    if "\n\n" in text:  # what advice follows names functions of the language
        text = text.split("\n\n")[0]
    if _TIME.fullmatch(text):  # each language writes it in its own way
        return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds")
    text = _BATCH.sub("items[n]", _NAN.sub("NaN", text))
    return _PLACE.sub("<place>", _UUID.sub("<id>", text))


def difference(found: Json, expected: Json, *, ordered: bool) -> str:
    """Answers in which lines two outcomes differ; "" if they do not."""
    wanted, had = _lines(expected, ordered=ordered), _lines(found, ordered=ordered)
    lines = difflib.unified_diff(wanted, had, "expected", "found", lineterm="", n=2)
    return "\n".join(lines)


def _lines(outcome: Json, *, ordered: bool) -> list[str]:
    """Answers lines that are the same for outcomes that are: numbers are equal as doubles."""
    told = cast(Json, _doubles(outcome))
    runs = [[json.dumps(event, sort_keys=True) for event in run] for run in told.pop("runs")]
    if not ordered:
        runs = [sorted(run) for run in runs]
        told["notes"] = sorted(told.get("notes", []))
    lines = json.dumps(told, sort_keys=True, indent=1).splitlines()
    return lines + [f"run {n}: {event}" for n, run in enumerate(runs, 1) for event in run]


def _doubles(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_doubles(each) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _doubles(each) for key, each in cast(Json, value).items()}
    return value
