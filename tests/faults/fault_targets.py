"""What a release is to reach, and whether the runs that are published reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fault_invariants import tallies
from fault_markdown import number, table
from fault_recoveries import AIM_S
from fault_report import Report

# What a database forgets is forgotten: the tail that an asynchronous replica never got.
FORGETFUL = {"failover"}

_Figure = Callable[[Report], float | None]
# What programs of their own have left, by name.
_Elsewhere = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Target:
    """A figure, and what it may be at most, or has to be at least."""

    text: str
    limit: float
    # None where a program of its own measures it.
    figure: _Figure | None
    # Where it is taken from; nothing means all scenarios.
    scenarios: tuple[str, ...] = ()
    fold: Callable[[Iterable[float]], float] = sum
    at_least: bool = False
    unit: str = ""
    # That program, and how its figure is read.
    program: str = ""
    told: Callable[[Mapping[str, int]], float | None] = lambda _: None

    @property
    def aim(self) -> str:
        if self.at_least:
            return f"{self.limit:,} or more"
        return f"{self._quantity(self.limit)} at most" if self.limit else "0"

    def row(self, reports: Sequence[Report], elsewhere: _Elsewhere) -> list[str]:
        if self.figure is None:
            return self._row_of_program(elsewhere.get(self.program))
        played = [each for each in reports if each.scenario in (self.scenarios or {each.scenario})]
        values = [value for each in played if (value := self.figure(each)) is not None]
        if not values:
            where = ", ".join(f"`{name}`" for name in self.scenarios) or "all"
            return [self.text, self.aim, "", where, "not counted" if played else "not played"]
        return self._row_of(self.fold(values), self._where(values, played))

    def _row_of_program(self, figures: Mapping[str, int] | None) -> list[str]:
        found = None if figures is None else self.told(figures)
        if found is None:
            why = "not played" if figures is None else "not counted"
            return [self.text, self.aim, "", f"`{self.program}`", why]
        return self._row_of(found, f"`{self.program}`")

    def _row_of(self, found: float, where: str) -> list[str]:
        reached = "yes" if self._is_reached(found) else "**no**"
        return [self.text, self.aim, self._quantity(found), where, reached]

    def _is_reached(self, found: float) -> bool:
        return found >= self.limit if self.at_least else found <= self.limit

    def _where(self, values: Sequence[float], played: Sequence[Report]) -> str:
        if self.scenarios:
            return ", ".join(f"`{each.scenario}`" for each in played)
        return "all" if len(values) == len(played) else f"{len(values)} of {len(played)}"

    def _quantity(self, value: float) -> str:
        digits = number(f"_{self.unit}", value)
        return f"{digits} {self.unit}" if self.unit else digits


def section(reports: Sequence[Report], programs: Sequence[Mapping[str, Any]] = ()) -> str:
    """Answer the section of the page about them."""
    elsewhere: _Elsewhere = {each["name"]: each["figures"] for each in programs}
    return _SECTION.format(
        table=table(
            ("target", "aim", "figure", "scenario", "reached"),
            [each.row(reports, elsewhere) for each in TARGETS],
        ),
        quiet=_quiet(reports),
        slow=_slow(reports),
    )


def _quiet(reports: Sequence[Report]) -> str:
    """Say what a wake-up takes without faults where there is much to do."""
    for each in reports:
        if each.scenario == "quiet" and (p99 := each.figures.get("wakeup_p99_ms")) is not None:
            return f": {p99:,.0f} ms (p99) there"
    return ""


def _slow(reports: Sequence[Report]) -> str:
    """List the scenarios whose recoveries take longer, and why each of those did."""
    lines = [
        f"- `{each.scenario}`: {p99:.1f} s{_because(each)}"
        for each in reports
        if (p99 := each.figures.get("recovery_p99_s")) is not None and p99 > AIM_S
    ]
    return f"\n\n{_SLOW}\n\n{chr(10).join(lines)}" if lines else ""


def _because(report: Report) -> str:
    reasons: dict[str, int] = report.figures.get("slow_recoveries", {})
    counted = [f"{n:,} times because {reason}" for reason, n in reasons.items()]
    return f"; {', '.join(counted)}" if counted else ""


def _of(name: str) -> _Figure:
    return lambda report: report.figures.get(name)


def _lost(report: Report) -> float | None:
    return None if report.scenario in FORGETFUL else report.figures["lost"]


def _faults(report: Report) -> float:
    return sum(report.figures["faults"].values())


def _innocents(report: Report) -> float:
    return report.figures["parked"].get("innocent", 0)


def _changed_payloads(report: Report) -> float | None:
    found = tallies([report]).get("I25")
    return found.violated if found and found.scenarios else None


def _crashes(figures: Mapping[str, int]) -> float | None:
    """Answer the crashes, but none only once each build was called as often as it has to be."""
    called = [n for name, n in figures.items() if name.startswith("calls under")]
    crashes = figures.get("crashes")
    return crashes if crashes or min(called, default=0) >= _CALLS else None


_CALLS = 10_000_000

# As it was decided what a release has to do, before there was one.
TARGETS = (
    Target("executions", 1_000_000, _of("executions"), at_least=True),
    Target("faults", 2_000, _faults, at_least=True),
    Target("acknowledged and lost, but by a replica that lagged", 0, _lost),
    Target("ended twice", 0, _of("doubled")),
    Target("stale writes accepted", 0, _of("stale_accepted")),
    Target("deadlocks", 0, _of("deadlocks")),
    Target(
        "recovery p99: the heartbeat timeout and 1 s",
        AIM_S,
        _of("recovery_p99_s"),
        ("kill9",),
        max,
        unit="s",
    ),
    Target("wake-up p99, without faults", 50, _of("wakeup_p99_ms"), ("lone",), max, unit="ms"),
    Target("errors of fifty first starts at once", 0, _of("start_errors"), ("first_starts",)),
    Target("crashes until a poison is parked", 3, _of("poison_claims_max"), ("poison",), fold=max),
    Target("innocents parked", 0, _innocents),
    Target(
        "crashes counted of who was told to leave, was busy, or had no database",
        0,
        _of("crashes_counted"),
        ("term", "blocked", "pg_restart", "pg_down"),
    ),
    Target("payloads changed (I25)", 0, _changed_payloads),
    Target(
        "throughput divided by, while a transaction stays open",
        2,
        _of("throughput_divided_by"),
        ("held_xmin",),
        max,
    ),
    Target(f"crashes of the library in {_CALLS:,} calls", 0, None, program="calls", told=_crashes),
)

_SLOW = """\
That target is about a fleet with room and a database that is there. These scenarios miss it in
their p99: they count from the stop or the death of a worker to the next claim of what it held,
whatever else is broken meanwhile."""

_SECTION = """\
## Targets

What a release is to reach. The verdict is about the invariants, and a target of time or number may
be missed beside it. A wake-up without faults is that of `lone`, which does a few things at a time;
`quiet` has no faults either, and is under load{quiet}.

{table}{slow}

"""
