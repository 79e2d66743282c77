"""Builds mutants of the library and says who notices.

`make mutants` runs all of them. For one: `mutants.py no_fencing`; with --build it is only
built, to be run by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from mutant_table import MUTANTS, Mutant

ROOT = Path(__file__).parents[3]
BUILD = ROOT / "build/faults/mutants"


class GuardChanged(Exception):
    """The text of a guard is not what the table says."""


def overlay(mutant: Mutant) -> Path:
    """Write the changed files, and what `go -overlay` reads."""
    directory = BUILD / mutant.name
    directory.mkdir(parents=True, exist_ok=True)
    texts: dict[str, str] = {}
    for edit in mutant.edits:
        text = texts.get(edit.file) or (ROOT / edit.file).read_text()
        if (found := text.count(edit.old)) != edit.times:
            raise GuardChanged(
                f"{mutant.name}: {edit.file} has this {found} times, not {edit.times}: {edit.old}"
            )
        texts[edit.file] = text.replace(edit.old, edit.new)
    replaced: dict[str, str] = {}
    for file, text in texts.items():
        to = directory / file.replace("/", "_")
        to.write_text(text)
        replaced[str(ROOT / file)] = str(to)
    path = directory / "overlay.json"
    path.write_text(json.dumps({"Replace": replaced}))
    return path


def build(mutant: Mutant) -> Path:
    """Build the mutant's library."""
    library = BUILD / mutant.name / "libworkflows.so"
    command = ["go", "build", f"-overlay={overlay(mutant)}", "-buildmode=c-shared"]
    command += ["-trimpath", "-buildvcs=false", "-o", str(library), "./capi"]
    subprocess.run(command, cwd=ROOT, check=True)
    return library


def _run(mutant: Mutant, command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    _log(mutant).write_text(done.stdout + done.stderr)
    return done.stdout


def _log(mutant: Mutant) -> Path:
    return BUILD / mutant.name / "log.txt"


def noticed_by_rig(mutant: Mutant, seconds: float) -> str:
    """Run the rig on the mutant until the checker objects, and answer to what; "" for nothing."""
    library = build(mutant)
    command = [sys.executable, "tests/faults/faults.py", "--library", str(library)]
    command += ["--scenario", mutant.scenario, "--duration", "8", "--seed", "1"]
    out = _run(mutant, [*command, "--until-violated", str(seconds)])
    if told := re.findall(r"^workflows\.\w+: .*", _log(mutant).read_text(), re.MULTILINE):
        return f"a client was told {told[-1]}"
    if "\ncaught after" not in out:
        return ""
    objection = re.findall(r"^verdict: VIOLATED (.*)$|^wrong: (.*)$", out, re.MULTILINE)
    return " ".join(objection[-1]).strip() if objection else "a limit of the scenario"


def noticed_by_tests(mutant: Mutant) -> str:
    """Run those Go tests that are to fail, and answer which do; "" for none."""
    command = ["go", "test", f"-overlay={overlay(mutant)}", "-count=1", "-run", mutant.tests]
    out = _run(mutant, [*command, "./core/engine", "./core/store"])
    return " ".join(re.findall(r"^--- FAIL: (\w+)", out, re.MULTILINE))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which; all, if none is named")
    parser.add_argument("--build", action="store_true", help="build it, and no more")
    parser.add_argument("--seconds", type=float, default=180, help="how long the rig looks")
    options = parser.parse_args()
    known = {each.name: each for each in MUTANTS}
    missed = 0
    for mutant in [known[name] for name in options.names] or MUTANTS:
        if options.build:
            print(build(mutant))
            continue
        began = time.monotonic()
        by = noticed_by_tests(mutant) if mutant.tests else noticed_by_rig(mutant, options.seconds)
        missed += not by
        how = f"{mutant.scenario or 'Go'}: {by}" if by else "NOT NOTICED"
        print(f"{mutant.name:<24}{time.monotonic() - began:6.0f} s  {how}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
