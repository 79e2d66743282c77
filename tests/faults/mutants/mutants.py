"""Builds mutants of the library, and sees that the rig objects to each, and to nothing else.

`make mutants` runs all of them, and then what is not mutated under the same scenarios, for as
long as the slowest mutant took to be caught there. For one: `mutants.py no_fencing`; with
--build it is only built, to be run by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from fault_overlay import ROOT, built, overlay
from mutant_table import MUTANTS, Mutant

BUILD = ROOT / "build/faults/mutants"
FOUND = ROOT / "build/faults/mutants.json"


class GuardChanged(Exception):
    """The text of a guard is not what the table says."""


@dataclass
class Catch:
    """What came of one mutant."""

    name: str
    without: str
    scenario: str
    # Until the rig objected; None if it did not.
    seconds: float | None
    objection: str
    # Go tests that fail as well.
    tests: str = ""
    remark: str = ""


@dataclass
class Control:
    """What came of the library as it is, under a scenario."""

    scenario: str
    seconds: float
    # What should not have been objected to.
    objection: str = ""


def changed(mutant: Mutant) -> Path:
    """Write the mutant's files, and what `go -overlay` reads."""
    texts: dict[str, str] = {}
    for edit in mutant.edits:
        text = texts.get(edit.file) or (ROOT / edit.file).read_text()
        if (found := text.count(edit.old)) != edit.times:
            raise GuardChanged(
                f"{mutant.name}: {edit.file} has this {found} times, not {edit.times}: {edit.old}"
            )
        texts[edit.file] = text.replace(edit.old, edit.new)
    return overlay(BUILD / mutant.name, texts)


# --- the rig ------------------------------------------------------------------------------


def rig(directory: Path, scenario: str, more: Sequence[str]) -> tuple[float | None, str]:
    """Run the rig until it objects; answer after how many seconds that was, and to what."""
    figures = directory / "figures.json"
    figures.unlink(missing_ok=True)
    command = [sys.executable, "tests/faults/faults.py", "--scenario", scenario, "--seed", "1"]
    command += ["--json", str(figures), "--keep", str(directory), *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (directory / "rig.txt").write_text(done.stdout + done.stderr)
    caught = re.search(r"^caught after (\d+) s", done.stdout, re.MULTILINE)
    if caught is None:
        return None, "" if "\nnot caught in" in f"\n{done.stdout}" else _last(done.stderr)
    return float(caught[1]), _objection(figures) or _last(done.stderr)


def _objection(figures: Path) -> str:
    """Answer what the last run was objected to for, in the checker's words if it has any."""
    reports: list[Any] = json.loads(figures.read_text()) if figures.exists() else []
    wrong = [each for each in reports if each["wrong"]]
    if not wrong:
        return ""
    for each in wrong[-1]["wrong"]:
        if each.endswith(" at most"):  # a limit of the scenario, which is what it is about
            return each
    if first := wrong[-1]["invariants"].get("first"):
        return " ".join(f"{first['invariant']}: {first['text']}".split())
    return wrong[-1]["wrong"][0].splitlines()[0]


def _last(text: str) -> str:
    """Answer the last error of a run that broke."""
    lines = [line for line in text.splitlines() if re.match(r"\w[\w.]*: ", line)]
    return lines[-1] if lines else "the rig broke"


def caught(mutant: Mutant, limit: float) -> Catch:
    """Have the rig look at a mutant, and then the Go tests that notice it, too."""
    library = built(changed(mutant))
    more = ["--library", str(library), "--duration", f"{mutant.seconds:g}"]
    more += ["--patience", f"{mutant.patience:g}", "--until-violated", f"{limit:g}"]
    seconds, objection = rig(library.parent, mutant.scenario, more)
    return Catch(
        mutant.name,
        mutant.without,
        mutant.scenario,
        seconds,
        objection,
        failing(mutant) if mutant.tests else "",
        mutant.remark,
    )


def failing(mutant: Mutant) -> str:
    """Run those Go tests that are to fail, and answer which do; "" for none."""
    command = ["go", "test", f"-overlay={changed(mutant)}", "-count=1", "-run", mutant.tests]
    command += ["./core/engine", "./core/store"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (BUILD / mutant.name / "tests.txt").write_text(done.stdout + done.stderr)
    return " ".join(re.findall(r"^--- FAIL: (\w+)", done.stdout, re.MULTILINE))


def controlled(scenario: str, mutants: Sequence[Mutant], catches: Sequence[Catch]) -> Control:
    """Run what is not mutated for as long as the slowest mutant took to be caught."""
    slowest = max((each.seconds or 0 for each in catches if each.scenario == scenario), default=0)
    there = [each for each in mutants if each.scenario == scenario]
    duration = max(each.seconds for each in there)
    patience = max(each.patience for each in there)
    directory = BUILD / f"control-{scenario}"
    directory.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    more = ["--duration", f"{duration:g}", "--patience", f"{patience:g}"]
    more += ["--until-violated", f"{slowest:g}"]
    _, objection = rig(directory, scenario, more)
    return Control(scenario, round(time.monotonic() - began), objection)


# --- words --------------------------------------------------------------------------------


def told(catch: Catch, mutant: Mutant) -> str:
    """Answer a line, and what else there is to say in others."""
    after = "NOT CAUGHT" if catch.seconds is None else f"{catch.seconds:.0f} s"
    lines = [f"{catch.name:<24}{catch.scenario:<12}{after:>6}  {_brief(catch.objection)}"]
    if mutant.tests:
        lines.append(f"{'':<24}also: {catch.tests or f'NOTHING, of {mutant.tests}'}")
    if catch.remark:
        lines.append(f"{'':<24}note: {catch.remark}")
    return "\n".join(lines)


def _brief(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."


def is_missed(catch: Catch, mutant: Mutant) -> bool:
    return catch.seconds is None or (bool(mutant.tests) and not catch.tests)


def verdict_of(catches: Sequence[Catch], controls: Sequence[Control]) -> str:
    """Answer how many were caught, and what speaks against the rig."""
    known = {each.name: each for each in MUTANTS}
    missed = [each.name for each in catches if is_missed(each, known[each.name])]
    objected = [each.scenario for each in controls if each.objection]
    verdict = f"{len(catches) - len(missed)} of {len(catches)} caught"
    verdict += f"; MISSED: {' '.join(missed)}" if missed else ""
    return verdict + (f"; control objected to in {' '.join(objected)}" if objected else "")


def publish(
    found: Path, commit: str, catches: Sequence[Catch], controls: Sequence[Control]
) -> None:
    """Leave what was found for the page of figures.

    What is not all of them takes the place of what was found of these at the same commit.
    """
    if len(catches) < len(MUTANTS):
        before: dict[str, Any] = json.loads(found.read_text()) if found.exists() else {}
        if before.get("commit") != commit:
            return
        merged = {each["name"]: Catch(**each) for each in before["mutants"]}
        merged |= {each.name: each for each in catches}
        under = {each["scenario"]: Control(**each) for each in before["controls"]}
        under |= {each.scenario: each for each in controls}
        catches, controls = list(merged.values()), list(under.values())
    told = {
        "commit": commit,
        "load": os.getloadavg()[2],
        "verdict": verdict_of(catches, controls),
        "mutants": [asdict(each) for each in catches],
        "controls": [asdict(each) for each in controls],
    }
    found.write_text(json.dumps(told, indent=1) + "\n")


def _commit() -> str:
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which; all, if none is named")
    parser.add_argument("--build", action="store_true", help="build them, and no more")
    parser.add_argument("--limit", type=float, default=180, help="how long the rig looks")
    parser.add_argument("--no-control", action="store_true", help="leave the control runs out")
    options = parser.parse_args()
    known = {each.name: each for each in MUTANTS}
    mutants = [known[name] for name in options.names] or list(MUTANTS)
    if options.build:
        print(*(built(changed(each)) for each in mutants), sep="\n")
        return 0
    return run(mutants, options.limit, control=not options.no_control)


def run(mutants: Sequence[Mutant], limit: float, *, control: bool) -> int:
    """Run mutants and controls, and answer 1 if one was missed or the control objected to."""
    catches: list[Catch] = []
    for mutant in mutants:
        catches.append(caught(mutant, limit))
        print(told(catches[-1], mutant), flush=True)
    controls: list[Control] = []
    for scenario in dict.fromkeys(each.scenario for each in mutants) if control else ():
        controls.append(controlled(scenario, mutants, catches))
        last = controls[-1]
        verdict = f"OBJECTED TO: {_brief(last.objection)}" if last.objection else "nothing"
        print(f"{'(none)':<24}{scenario:<12}{last.seconds:>4.0f} s  {verdict}", flush=True)
    verdict = verdict_of(catches, controls)
    print(f"verdict: {verdict}", flush=True)
    if control:
        publish(FOUND, _commit(), catches, controls)
    return 1 if ";" in verdict else 0


if __name__ == "__main__":
    sys.exit(main())
