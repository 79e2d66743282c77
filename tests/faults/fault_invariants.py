"""What is published of the invariants: how often each was checked, and in how many scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fault_markdown import table
from fault_report import Report

_COLUMNS = ("", "invariant", "checks", "violated", "scenarios with something to check")


@dataclass
class Tally:
    """What the checker said of one invariant over all runs."""

    text: str = ""
    checked: int = 0
    violated: int = 0
    scenarios: int = 0
    # Why a run had nothing to check, each reason once.
    reasons: list[str] = field(default_factory=list[str])

    def add(self, told: dict[str, Any]) -> None:
        self.text = self.text or told.get("text", "")
        self.checked += told.get("checked", 0)
        self.violated += told.get("violated", 0)
        self.scenarios += bool(told.get("checked") or told.get("violated"))
        if (reason := told.get("not_applicable")) and reason not in self.reasons:
            self.reasons.append(reason)


def tallies(reports: Sequence[Report]) -> dict[str, Tally]:
    """Answer what was checked, in the order of the numbers; nothing of runs that kept none."""
    found: dict[str, Tally] = {}
    for each in reports:
        for name, told in each.invariants.get("invariants", {}).items():
            found.setdefault(name, Tally()).add(told)
    return dict(sorted(found.items(), key=lambda item: int(item[0][1:])))


def section(reports: Sequence[Report]) -> str:
    """Answer the section of the page about them; nothing if no run kept what was checked."""
    telling = [each for each in reports if each.invariants.get("invariants")]
    if not telling:
        return ""
    silent = ", ".join(each.scenario for each in reports if each not in telling)
    rows = [_row(name, each) for name, each in tallies(telling).items()]
    return _SECTION.format(
        scenarios=len(telling),
        silent=f" Nothing of that was kept of {silent}." if silent else "",
        table=table(_COLUMNS, rows),
    )


def _row(name: str, tally: Tally) -> list[str]:
    if not tally.scenarios:
        reason = f"not applicable: {'; '.join(tally.reasons)}" if tally.reasons else "never checked"
        text = f"{tally.text} ({reason})" if tally.text else reason
        return [name, text, "", "", "0"]
    return [name, tally.text, f"{tally.checked:,}", f"{tally.violated:,}", f"{tally.scenarios}"]


_SECTION = """\
## Invariants

What the checker went over in {scenarios} scenarios, and how often: each write, claim, body, call or
row that an invariant says something of is a check.{silent} `failover` loses what its replica never
got, so there it is not checked that what was acknowledged is there (starts I1, results I2 and I25,
signals I12, cancels I17), that a body belongs to a claim (I8), that a race has one winner (I14),
nor what a writer was told (I6, I28).

{table}

"""
