"""What outages of PostgreSQL cost: how soon work went on, and what was needlessly taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from fault_figures import FINAL, Evidence, Row, at, is_claim, is_taken_away, percentile

_BEGINS, _ENDS = ("pg_stop", "pg_restart"), ("pg_start",)
# A worker to which this happened has missed its heartbeats by itself.
_STRUCK = ("kill9", "died", "stop")

Span = tuple[float, float]


def outages(faults: Iterable[Mapping[str, Any]], offset: int) -> list[Span]:
    """Answer from when until when PostgreSQL was away, on its clock."""
    found: list[Span] = []
    since: float | None = None
    for each in faults:
        when = (each["at"] + offset) / 1e9
        if each.get("kind") in _BEGINS:
            since = when
        elif each.get("kind") in _ENDS and since is not None:
            found.append((since, when))
            since = None
    return found


def figures_of_outages(evidence: Evidence) -> dict[str, Any]:
    """Answer what the outages of a run cost; nothing if there were none."""
    spans = outages(evidence.nemesis, evidence.meta["boottime_offset_ns"])
    if not spans:
        return {}
    resumed = _resumed(spans, evidence.written.values())
    return {
        **{
            f"resume_{name}_s": percentile(resumed, share)
            for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))
        },
        "needless_recoveries": _needless(evidence),
        "rerun_after_outages": sum(
            _is_rerun(span, written) for span in spans for written in evidence.written.values()
        ),
    }


def _resumed(spans: Sequence[Span], all_written: Iterable[Sequence[Row]]) -> list[float]:
    """Answer how long after each outage a worker brought something to its end."""
    ends = sorted(
        at(row)
        for written in all_written
        for row in written
        if row["old_status"] == "running" and row["new_status"] in FINAL
    )
    next_ends = [next((each for each in ends if each >= back), None) for _, back in spans]
    return [end - back for (_, back), end in zip(spans, next_ends, strict=True) if end is not None]


def _needless(evidence: Evidence) -> int:
    """Count what was taken from workers that had neither died nor stopped before."""
    offset = evidence.meta["boottime_offset_ns"]
    struck: dict[str, float] = {}
    for each in evidence.nemesis:
        if each.get("kind") in _STRUCK and each.get("target"):
            struck.setdefault(each["target"]["name"], (each["at"] + offset) / 1e9)
    names = {worker["id"]: worker["name"] for worker in evidence.workers}
    return sum(
        is_taken_away(row) and at(row) < struck.get(names.get(before["worker"], ""), float("inf"))
        for written in evidence.written.values()
        for before, row in pairwise(written)
    )


def _is_rerun(outage: Span, written: Sequence[Row]) -> bool:
    """Say whether what ran when an outage began was taken from its worker and claimed by another.

    A claim whose reply was lost is put back by who was to have it: that is no recovery.
    """
    before = [row for row in written if at(row) <= outage[0]]
    after = written[len(before) :]
    if not before or before[-1]["new_status"] != "running" or not after:
        return False
    claim = next(filter(is_claim, after), None)
    taken = is_taken_away(after[0])
    return taken and claim is not None and claim["worker"] != before[-1]["worker"]
