"""Verdicts of runs, and the file in which the last ones are kept."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fault_calls import figures_of_calls
from fault_figures import Evidence
from fault_outages import figures_of_outages
from fault_recoveries import slow_recoveries
from fault_server import ROOT
from fault_stalls import figures_of_stalls
from fault_world import World

_CHECKER = ROOT / "build" / "faults" / "checker"
_MUST_BE_NOTHING = ("lost", "doubled", "deadlocks")

# What a nemesis notes when a fault is over: it strikes nobody, and counts as no fault.
ENDS = frozenset({"cont", "pg_start", "disk_room", "pass", "unspin", "read_write"})

# What only the checker can count, and how it calls that.
_COUNTS = {
    "stale_accepted": "stale_writes_accepted",
    "overlapping_bodies": "bodies_overlapping",
    "late_bodies": "bodies_begun_after_the_success_of_others",
    "signals_not_taken": "signals_not_taken",
}


@dataclass
class Report:
    """What came of one run."""

    scenario: str
    row: str
    about: str
    seed: int
    commit: str
    seconds: float
    figures: dict[str, Any]
    invariants: dict[str, Any] = field(default_factory=dict[str, Any])
    wrong: list[str] = field(default_factory=list[str])
    # Seconds of faults: of this scenario, and of all that were played with it.
    duration: float | None = None
    total: float | None = None
    # Figures that are told even if they are nothing: what it is about.
    tells: list[str] = field(default_factory=list[str])
    machine: str = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    # Of the last quarter of an hour, when it was over.
    load: float = field(default_factory=lambda: round(os.getloadavg()[2], 1))

    @property
    def again(self) -> str:
        """The command that plays it again."""
        lasted = f" DURATION={self.duration:g}" if self.duration else ""
        return f"make faults SCENARIO={self.scenario} SEED={self.seed}{lasted}"

    @property
    def verdict(self) -> str:
        return "VIOLATED" if self.wrong else "ok"


def report(world: World, seconds: float) -> Report:
    """Gather what a run left, and judge it."""
    evidence = Evidence(world.directory)
    scenario = world.scenario
    made = Report(
        scenario.name,
        scenario.row,
        scenario.about,
        world.seed,
        evidence.meta["commit"],
        round(seconds, 1),
        _figures(world, evidence),
        wrong=[*world.wrong, *world.clients.wrong],
        duration=round(world.duration, 2),
        tells=[*scenario.limits, *scenario.floors, *scenario.tells],
    )
    _check(world.directory, made)
    made.figures = completed(made.figures, made.invariants.get("figures", {}))
    for name in _MUST_BE_NOTHING:
        if made.figures[name] and not (name == "lost" and scenario.allows.get("lost_acks")):
            made.wrong.append(f"{name}: {made.figures[name]}")
    if made.figures["parked"].get("innocent"):
        made.wrong.append(f"innocents were parked: {made.figures['parked']}")
    made.wrong += beyond(made.figures, scenario.limits, scenario.floors)
    return made


def _figures(world: World, evidence: Evidence) -> dict[str, Any]:
    return {
        **evidence.figures(),
        **figures_of_calls(world.directory),
        **figures_of_outages(evidence),
        **figures_of_stalls(evidence),
        "slow_recoveries": slow_recoveries(evidence),
        **world.figures,
    }


def beyond(
    figures: Mapping[str, Any], limits: Mapping[str, float], floors: Mapping[str, float]
) -> list[str]:
    """Answer which figures are larger or smaller than they may be; one that is missing is both."""
    wrong: list[str] = []
    for name, limit in limits.items():
        if (found := figures.get(name)) is None or found > limit:
            wrong.append(f"{name} is {found}, and may be {limit:g} at most")
    for name, limit in floors.items():
        if (found := figures.get(name)) is None or found < limit:
            wrong.append(f"{name} is {found}, and must be {limit:g} at least")
    return wrong


def build_checker() -> None:
    """Compile the checker, once for all runs of this process."""
    subprocess.run(
        ["go", "build", "-o", str(_CHECKER), "./tests/faults/checker"], cwd=ROOT, check=True
    )


def _check(directory: Path, made: Report) -> None:
    """Have the checker look at a run; its own words follow the figures."""
    counts = directory / "invariants.json"
    ended = subprocess.run(
        [str(_CHECKER), "--json", str(counts), str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    (directory / "checker.txt").write_text(ended.stdout + ended.stderr)
    if counts.exists():
        made.invariants = json.loads(counts.read_text())
    if ended.returncode != 0:
        made.wrong.append(f"the checker found:\n{(ended.stdout + ended.stderr)[-6000:]}")


def completed(figures: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Answer the figures of a run with the checker's, and the faults without their ends.

    Args:
        figures: what the rig counted. Completed once more, they stay the same.
        found: the figures of the checker; nothing if it had no word.
    """
    faults: Mapping[str, int] = figures.get("faults", {})
    ended = {kind: n for kind, n in faults.items() if kind in ENDS}
    return {
        **figures,
        "faults": {kind: n for kind, n in faults.items() if kind not in ENDS},
        "faults_ended": {**figures.get("faults_ended", {}), **ended},
        **{ours: found[theirs] for ours, theirs in _COUNTS.items() if theirs in found},
        **_latencies(found),
        **({} if figures.get("recovery_p99_s") is not None else _recoveries(found)),
    }


def _latencies(found: Mapping[str, Any]) -> dict[str, Any]:
    """Answer how late it was noticed what can run: the checker knows when a slot was free."""
    told: dict[str, Any] = {}
    for name, ours in (("wake_up_ms", "wakeup"), ("timer_lateness_ms", "timer_late")):
        if quantiles := found.get(name):
            for each in ("p50", "p99", "max"):
                told[f"{ours}_{each}_ms"] = quantiles[each] if quantiles["count"] else None
    return told


def _recoveries(found: Mapping[str, Any]) -> dict[str, Any]:
    """Answer how long what was lost by stops and deaths waited, where nobody was killed."""
    quantiles = found.get("recovery_ms", {"count": 0})
    if not quantiles["count"]:
        return {}
    return {f"recovery_{each}_s": round(quantiles[each] / 1000, 3) for each in ("p50", "p99")}


# --- what is kept --------------------------------------------------------------------------


def kept(path: Path) -> list[Report]:
    """Answer the reports in a file; none if it is not there."""
    if not path.exists():
        return []
    reports = [Report(**each) for each in json.loads(path.read_text())]
    for each in reports:
        each.figures = completed(each.figures, each.invariants.get("figures", {}))
    return reports


def keep(path: Path, reports: Sequence[Report]) -> list[Report]:
    """Put reports into a file, in the place of those of the same scenarios, and answer all."""
    found = {each.scenario: each for each in kept(path)}
    found |= {each.scenario: each for each in reports}
    path.write_text(json.dumps([asdict(each) for each in found.values()], indent=1))
    return list(found.values())
