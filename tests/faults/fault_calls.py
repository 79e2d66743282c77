"""What clients were told that was no answer: errors, and what the library tried again first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fault_journal import entries

# What tells of the execution or of the time a caller gave, and is an answer like any other.
_ANSWERS = {"execution_finished", "execution_not_found", "result_timeout"}
_TRIED = re.compile(r'a write is tried again writes=(\d+) error="?(\w+).*?(?:\((\w{5})\)|$)')


def surfaced(calls: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Count the calls that ended in an error, which the library had no patience left for.

    Args:
        calls: as clients journal them, each repetition of the rig's own as one more.
    """
    failed = [each for each in calls if each["code"] and each["code"] not in _ANSWERS]
    return {
        "errors_surfaced": len(failed),
        "errors_by_code": dict(Counter(_kind(each) for each in failed).most_common()),
        "starts_failed": sum(each["op"] == "start" for each in failed),
    }


def _kind(call: Mapping[str, Any]) -> str:
    state = call.get("sqlstate")
    return f"{call['code']} {state}" if state else call["code"]


def tried_again(logs: Iterable[str]) -> dict[str, int]:
    """Count the writes that the library itself tried again, by SQLSTATE, from its logs."""
    found: Counter[str] = Counter()
    for log in logs:
        for line in log.splitlines():
            if there := _TRIED.search(line):
                found[there[3] or "no connection"] += int(there[1])
    return dict(found.most_common())


def unhandled(state: str, logs: Iterable[str], calls: Iterable[Mapping[str, Any]]) -> int:
    """Count what was told of an SQLSTATE to clients, or logged and not tried again."""
    lines = (line for log in logs for line in log.splitlines())
    logged = sum(state in _states(line) and not _TRIED.search(line) for line in lines)
    return logged + sum(each.get("sqlstate") == state for each in calls)


def _states(line: str) -> list[str]:
    return re.findall(r"\((?:SQLSTATE )?(\w{5})\)", line)


def figures_of_calls(directory: Path) -> dict[str, Any]:
    """Answer all of that for a run."""
    calls = [
        each
        for path in sorted(directory.glob("client-*.jsonl"))
        for each in entries(path)
        if each.get("code")
    ]
    logs = {path.stem: path.read_text(errors="replace") for path in directory.glob("*.log")}
    server = logs.pop("server", "")
    return {
        **surfaced(calls),
        "tried_again": tried_again(logs.values()),
        "unhandled_40001": unhandled("40001", logs.values(), calls),
        **cancelled(server),
    }


_BECAUSE = re.compile(r"canceling statement due to (.+)")


def cancelled(server_log: str) -> dict[str, Any]:
    """Count what PostgreSQL did not carry out for reasons that clients did not choose."""
    because = Counter(_BECAUSE.findall(server_log))
    return {
        "not_serialized": server_log.count("could not serialize"),
        "statements_cancelled": dict(because.most_common()),
    }
