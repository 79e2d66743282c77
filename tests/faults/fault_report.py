"""Verdicts, and what is printed and published of runs."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_figures import Evidence
from fault_server import ROOT
from fault_world import World

_CHECKER = ROOT / "build" / "faults" / "checker"
_MUTANTS = ROOT / "build" / "faults" / "mutants.json"
_MUST_BE_NOTHING = ("lost", "doubled", "deadlocks")


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
        {**evidence.figures(), **world.figures},
        wrong=[*world.wrong, *world.clients.wrong],
    )
    for name in _MUST_BE_NOTHING:
        if made.figures[name] and not (name == "lost" and scenario.allows.get("lost_acks")):
            made.wrong.append(f"{name}: {made.figures[name]}")
    if made.figures["parked"].get("innocent"):
        made.wrong.append(f"innocents were parked: {made.figures['parked']}")
    for name, limit in scenario.limits.items():
        if (found := made.figures.get(name)) is None or found > limit:
            made.wrong.append(f"{name} is {found}, and may be {limit:g} at most")
    _check(world.directory, made)
    return made


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


# --- words --------------------------------------------------------------------------------

_COLUMNS = {
    "executions": "executions",
    "faults": "faults",
    "lost": "lost",
    "doubled": "doubled",
    "late_refused": "late, refused",
    "crashes_counted": "crashes counted",
    "recovery_p50_s": "recovery p50, s",
    "recovery_p99_s": "p99, s",
    "wakeup_p99_ms": "wake-up p99, ms",
    "deadlocks": "deadlocks",
}


def markdown(reports: Sequence[Report]) -> str:
    """Answer a table with a line for each run."""
    names = ["scenario", "row", *_COLUMNS.values(), "innocents parked", "verdict"]
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    for each in reports:
        cells = [each.scenario, each.row]
        cells += [_cell(each.figures.get(name)) for name in _COLUMNS]
        cells += [str(each.figures["parked"].get("innocent", 0)), each.verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{sum(value.values()):,}"  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else f"{value:g}"


def told(made: Report) -> str:
    """Answer a run in lines for a terminal, what was wrong first."""
    lines = [f"--- {made.scenario} (row {made.row}): {made.about}; seed {made.seed}"]
    lines += [f"WRONG: {each}" for each in made.wrong[:20]]
    if len(made.wrong) > 20:
        lines.append(f"and {len(made.wrong) - 20} more")
    width = max(map(len, made.figures))
    lines += [f"{name:{width}}  {value}" for name, value in made.figures.items()]
    return "\n".join(lines)


def published(reports: Sequence[Report]) -> str:
    """Answer the page of figures."""
    faults: Counter[str] = Counter()
    for each in reports:
        faults.update(each.figures["faults"])
    first = reports[0]
    bad = [each.scenario for each in reports if each.wrong]
    kinds = "\n".join(f"| {kind} | {count:,} |" for kind, count in faults.most_common())
    notes = "\n".join(
        f"- **{each.scenario}** (row {each.row}): {each.about}. {_own(each)}" for each in reports
    )
    return _PAGE.format(
        seed=first.seed,
        commit=first.commit,
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        minutes=sum(each.seconds for each in reports) / 60,
        executions=sum(each.figures["executions"] for each in reports),
        claims=sum(each.figures["claims"] for each in reports),
        lost=sum(each.figures["lost"] for each in reports if each.scenario not in _FORGETFUL),
        forgotten=sum(each.figures["lost"] for each in reports if each.scenario in _FORGETFUL),
        load=os.getloadavg()[2],
        doubled=sum(each.figures["doubled"] for each in reports),
        late=sum(each.figures["late_refused"] for each in reports),
        table=markdown(reports),
        kinds=kinds,
        notes=notes,
        mutants=_mutants(),
        verdict="ok" if not bad else f"VIOLATED in {', '.join(bad)}",
    )


def _mutants() -> str:
    """Answer what `make mutants` has found last; nothing if it was not run."""
    if not _MUTANTS.exists():
        return ""
    found = json.loads(_MUTANTS.read_text())
    lines = "\n".join(_mutant(each) for each in found["mutants"])
    controls = ", ".join(
        f"{each['scenario']} {each['seconds']:.0f} s" for each in found["controls"]
    )
    return _TABLE_OF_MUTANTS.format(**{**found, "lines": lines, "controls": controls})


def _mutant(each: Mapping[str, Any]) -> str:
    caught = "not caught" if each["seconds"] is None else f"{each['seconds']:.0f}"
    cells = [each["name"], each["without"], each["scenario"], caught]
    return f"| {' | '.join([*cells, _in_a_cell(each['objection']), each['tests']])} |"


def _in_a_cell(text: str) -> str:
    """Leave out which execution, token or worker it was, which nobody can look up any more."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "…", text)
    return " ".join(text.replace("|", "/").split())[:160]


def _own(made: Report) -> str:
    """Answer the figures that only one scenario has, or that it is about."""
    usual = {*_COLUMNS, "ended", "claims", "parked", "recoveries", "wakeup_p50_ms", "calm_s"}
    own = {name: value for name, value in made.figures.items() if name not in usual}
    return "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in own.items())


# What a database forgets is forgotten: the tail that an asynchronous replica never got.
_FORGETFUL = {"failover"}

_PAGE = """\
<!-- Written by `make faults`. -->

# Reliability

What the rig of [tests/faults](../tests/faults/README.md) measured: workers in Python and Node,
clients that journal every call outside the database, and a PostgreSQL with fsync on, while faults
happen to all of them in an order that follows from a seed. A checker then proves the invariants
over journals, an audit of every write, and the final tables.

`make faults SEED={seed}` at commit {commit}, {minutes:.0f} minutes on {machine},
load {load:.1f} in the end: **verdict {verdict}**. Times are those of a machine under that load.

| | |
| --- | --- |
| executions | {executions:,} |
| claims | {claims:,} |
| acknowledged and lost | {lost:,} |
| acknowledged, and forgotten by a failover to an asynchronous replica that lagged | {forgotten:,} |
| ended twice | {doubled:,} |
| late writes refused or dropped | {late:,} |

{table}

## Faults by kind

| kind | count |
| --- | --- |
{kinds}

## Scenarios

{notes}
{mutants}"""

_TABLE_OF_MUTANTS = """
## Mutants

A rig that does not notice that a guard is missing proves nothing about it. `make mutants` takes
one after another out of the library and runs the rig until it objects; at commit {commit}, load
{load:.1f} in the end: **{verdict}**. What is not mutated was then run under the same scenarios,
for as long as the slowest mutant took there: {controls}.

| mutant | takes out | scenario | caught after, s | objection | Go tests that fail, too |
| --- | --- | --- | --- | --- | --- |
{lines}
"""
