"""Why some recoveries took longer than they are to take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from fault_figures import Evidence, Row, at, is_claim, is_taken_away
from fault_fleet import HEARTBEAT_TIMEOUT
from fault_outages import Span, outages

# What a recovery may take at most: see the targets.
AIM_S = HEARTBEAT_TIMEOUT + 1
_STRUCK = ("kill9", "died", "stop")

AWAY = "PostgreSQL was away meanwhile"
UNSEEN = "no other worker lived for long enough to find it silent"
ALONE = "it had crashed twice and waited to be claimed alone"
NOBODY = "no worker that could have taken it was awake"
OTHER = "of something else"


@dataclass(frozen=True)
class Recovery:
    """What a worker held that was struck, from then to its next claim."""

    queue: str
    struck: float
    found: float
    claim: Row

    @property
    def is_slow(self) -> bool:
        return at(self.claim) - self.struck > AIM_S


def slow_recoveries(evidence: Evidence) -> dict[str, int]:
    """Count the recoveries above the aim by their reasons, whoever was killed or stopped."""
    offset = evidence.meta["boottime_offset_ns"]
    away = outages(evidence.nemesis, offset)
    asleep = absences(evidence.nemesis, offset)
    lives: dict[str, float] = {}
    for row in evidence.workers:
        began = datetime.fromisoformat(row["started_at"]).timestamp()
        lives[row["name"]] = min(began, lives.get(row["name"], began))
    found = Counter(
        reason(each, away, asleep, lives) for each in _recoveries(evidence) if each.is_slow
    )
    return dict(found.most_common())


def reason(
    slow: Recovery,
    away: Sequence[Span],
    asleep: Mapping[str, Sequence[Span]],
    lives: Mapping[str, float],
) -> str:
    """Answer why nobody had it sooner.

    Args:
        slow: what took so long.
        away: when PostgreSQL was.
        asleep: when workers were stopped, and from when on dead, by name.
        lives: when they began.
    """
    claimed = at(slow.claim)
    if any(begin < claimed and slow.struck < end for begin, end in away):
        return AWAY
    if slow.claim["alone"] == "t":
        return ALONE
    if slow.found - slow.struck > AIM_S and not _watched(slow, asleep, lives):
        return UNSEEN
    # A claim may come a moment after who makes it is awake again.
    latest = claimed - 0.5
    able = [name for name in lives if slow.queue in ("default", name.split("-")[0])]
    slept = [
        any(begin <= slow.found and latest <= end for begin, end in asleep.get(name, ()))
        for name in able
        if lives[name] < latest
    ]
    awake = not all(slept)
    return OTHER if awake else NOBODY


def _watched(
    slow: Recovery, asleep: Mapping[str, Sequence[Span]], lives: Mapping[str, float]
) -> bool:
    """Say whether somebody could see the silence for half the timeout, until it was found."""
    since = slow.struck + HEARTBEAT_TIMEOUT / 2
    return any(
        began < since
        and not any(gone < slow.found and since < back for gone, back in asleep.get(name, ()))
        for name, began in lives.items()
    )


def absences(faults: Iterable[Mapping[str, Any]], offset: int) -> dict[str, list[Span]]:
    """Answer from when until when each worker was stopped or, for ever, dead."""
    found: dict[str, list[Span]] = defaultdict(list)
    stopped: dict[str, float] = {}
    for each in faults:
        if not each.get("target"):
            continue
        name, when = each["target"]["name"], (each["at"] + offset) / 1e9
        if each["kind"] == "stop":
            stopped[name] = when
        elif each["kind"] == "cont" and name in stopped:
            found[name].append((stopped.pop(name), when))
        elif each["kind"] in ("kill9", "died", "term"):
            found[name].append((when, float("inf")))
    return found


def _recoveries(evidence: Evidence) -> Iterable[Recovery]:
    offset = evidence.meta["boottime_offset_ns"]
    struck: dict[str, list[float]] = defaultdict(list)
    for each in evidence.nemesis:
        if each.get("kind") in _STRUCK and each.get("target"):
            struck[each["target"]["name"]].append((each["at"] + offset) / 1e9)
    names = {row["id"]: row["name"] for row in evidence.workers}
    for id, written in evidence.written.items():
        for n, (before, row) in enumerate(pairwise(written), 1):
            times = [t for t in struck[names.get(before["worker"], "")] if t <= at(row)]
            claim = next(filter(is_claim, written[n:]), None)
            if is_taken_away(row) and times and claim is not None and id in evidence.executions:
                yield Recovery(evidence.executions[id]["queue"], times[-1], at(row), claim)
