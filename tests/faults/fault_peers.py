"""What is published of the run under the same faults of others: see peers/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COLUMNS = {
    "accepted": "accepted",
    "never_ended": "never ended",
    "ended_twice": "bodies that ended twice",
    "stale_results": "results by a stale holder",
    "interrupted": "interrupted and begun again",
    "recovered_p50_s": "after, p50, s",
    "recovered_max_s": "longest, s",
    "slowest_s": "slowest from start to end, s",
}


def table(report: Mapping[str, Any]) -> str:
    """Answer a table with a line for each contestant."""
    names = ["", "version", *_COLUMNS.values()]
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    for each in report["peers"]:
        cells = [each["title"], each["version"], *(_cell(each[name]) for name in _COLUMNS)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.1f}"


def section(report: Mapping[str, Any]) -> str:
    """Answer the section of the page about them."""
    first = report["peers"][0]
    notes = "\n".join(
        f"- **{each['title']}**: {each['settings']}. {each['promise']}" for each in report["peers"]
    )
    return _SECTION.format(
        seed=report["seed"],
        seconds=report["seconds"],
        commit=report["commit"],
        machine=report["machine"],
        load=report["load"],
        kills=first["kills"],
        stops=first["stops"],
        table=table(report),
        notes=notes,
    )


_SECTION = """\
`make peers SEED={seed} DURATION={seconds:g}` at commit {commit} on {machine}, load {load:.1f}. Each
had four workers of sixteen slots, jobs whose body takes 0.1 s, eight clients, a PostgreSQL of its
own with fsync on, and the same faults at the same times: {kills} workers killed and started again
at once, {stops} stopped for 2.4 to 6 s. A trigger on its own table wrote down who claims and who
ends; journals outside the database, which bodies ran. After the faults each had as long as it
went on ending jobs, and half a minute more.

{table}

A body that ended twice breaks no promise: in all of them a job that was interrupted runs again,
also if only the record of its end was lost. Most of these come from the stops. Where others take
what a stopped worker holds, as in libworkflows and procrastinate, both run the body to its end once
it goes on. Where only a restart gives it back, its jobs wait until it goes on, or for ever if it
does not, and nothing runs twice. A result by a stale holder is one that was written by another
worker than the one which had claimed the job last. What is slow at this load is not lost.

{notes}
"""
