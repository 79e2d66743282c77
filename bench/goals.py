"""What is to be reached, as ratios to others in the same run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

Report = dict[str, Any]
Sample = dict[str, Any]

MEMORY = 25  # MiB that an idle worker may take beside its language
QUERIES = 2  # a second that it may ask


@dataclass(frozen=True)
class Reached:
    """A row of the table: a goal, and what the run has to say to it."""

    title: str
    goal: str
    figure: str = ""
    against: str = ""
    ratio: str = ""
    reached: bool | None = None  # None: one of the two was not measured

    @property
    def said(self) -> str:
        return {True: "yes", False: "no", None: ""}[self.reached]


@dataclass(frozen=True)
class Goal:
    """To be so many times as fast as another; for times, to take so many times as long."""

    title: str
    contestant: str
    workload: str
    factor: float
    against: str  # a contestant, or "best peer"
    their_workload: str = ""
    least: bool = True  # False: at most

    def wanted(self, report: Report) -> str:
        """Say what is wanted."""
        title = report["titles"].get(self.against, self.against)
        return f"{'>=' if self.least else '<='} {self.factor:g} x {title}"


def _goals() -> Generator[Goal]:
    drained = "jobs drained through"
    yield Goal(f"{drained} the C ABI", "c", "drain", 1.5, "best peer")
    yield Goal(f"{drained} the C ABI", "c", "drain", 0.5, "sql")
    yield Goal(f"{drained} a Node worker", "node", "drain", 1.0, "graphile-worker")
    yield Goal(f"{drained} a Python worker", "python", "drain", 0.4, "graphile-worker")
    for name, title in (("node", "Node"), ("python", "Python")):
        yield Goal(f"no-op workflows, 100 in flight, {title}", name, "workflow_100", 5, "best peer")
    for name, title in (("node", "Node"), ("python", "Python")):
        yield Goal(f"recorded steps, 100 in flight, {title}", name, "steps_100", 10, "best peer")
    for name, title in (("node", "Node"), ("python", "Python")):
        said = f"activities in sequence, 100 in flight, {title}, against steps"
        yield Goal(said, name, "activities_100", 3, "best peer", "steps_100")
    for name, title in (("c", "the C ABI"), ("node", "Node"), ("python", "Python")):
        yield Goal(f"pick-up p50, {title}", name, "pickup", 0.6, "river", least=False)
    for name, title in (("c", "the C ABI"), ("node", "Node"), ("python", "Python")):
        yield Goal(f"start to result p50, {title}", name, "result", 0.6, "dbos-go", least=False)


def check_goals(report: Report) -> list[Reached]:
    """Hold a report against every goal."""
    return [
        *(_compare(report, goal) for goal in _goals()),
        *_lasting(report),
        *_idle(report),
    ]


def _compare(report: Report, goal: Goal) -> Reached:
    results = report["results"]
    theirs = goal.their_workload or goal.workload
    other = _best_peer(report, theirs) if goal.against == "best peer" else goal.against
    mine, its = results.get(goal.contestant, {}).get(goal.workload), None
    if other is not None:
        its = results.get(other, {}).get(theirs)
    name = goal.against if other is None else report["titles"].get(other, other)
    wanted = goal.wanted(report)
    against = "" if its is None else f"{name}: {_figure(its)}"
    if mine is None or its is None or not its["value"]:
        return Reached(goal.title, wanted, "" if mine is None else _figure(mine), against)
    ratio = mine["value"] / its["value"]
    reached = ratio >= goal.factor if goal.least else ratio <= goal.factor
    return Reached(goal.title, wanted, _figure(mine), against, f"{ratio:.2f}", reached)


def _best_peer(report: Report, workload: str) -> str | None:
    results = report["results"]
    measured = [peer for peer in report["peers"] if workload in results.get(peer, {})]
    return max(measured, key=lambda peer: results[peer][workload]["value"], default=None)


def _figure(figures: Sample) -> str:
    value = figures["value"]
    return f"{value:.2f} ms" if figures["unit"] == "ms" else f"{value:,.0f}/s"


def _lasting(report: Report) -> Generator[Reached]:
    measured = report.get("sustained", {}).get("results", {})
    for name in measured or [""]:
        title = "sustained, last minute against first"
        if not name:
            yield Reached(title, ">= 0.9 x")
            continue
        first, last = measured[name][0]["value"], measured[name][-1]["value"]
        ratio = last / first if first else 0.0
        title += f", {report['titles'][name]}"
        yield Reached(
            title, ">= 0.9 x", f"{last:,.0f}/s", f"{first:,.0f}/s", f"{ratio:.2f}", ratio >= 0.9
        )


def _idle(report: Report) -> Generator[Reached]:
    checks: list[tuple[str, Callable[[Sample], tuple[str, str, bool]]]] = [
        (
            f"< {QUERIES} queries/s",
            lambda its: (f"{its['value']:.2f}/s", "", its["value"] < QUERIES),
        ),
        (
            f"<= bare process + {MEMORY} MiB",
            lambda its: (
                f"{its['memory']:.0f} MiB",
                f"bare: {its['bare']:.0f} MiB",
                its["memory"] <= its["bare"] + MEMORY,
            ),
        ),
    ]
    for name, results in report["results"].items():
        if "idle" not in results or name in report["peers"]:
            continue
        for goal, look in checks:
            figure, against, reached = look(results["idle"])
            yield Reached(
                f"idle worker, {report['titles'][name]}", goal, figure, against, "", reached
            )
