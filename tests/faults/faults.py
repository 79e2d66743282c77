"""Runs the rig: `faults.py --scenario kill9 --seed 7 --duration 60`. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).parents[1] / "programs"))
sys.path.insert(0, str(Path(__file__).parents[1] / "crash"))

import fault_elsewhere
import fault_proxy
from fault_elsewhere import ELSEWHERE, Played
from fault_page import markdown, published, told, verdict
from fault_report import Report, build_checker, keep, kept, report
from fault_scenarios import LONG, SCENARIOS
from fault_server import ROOT
from fault_world import PATIENCE, Scenario, Skipped, World

_BUILD = ROOT / "build" / "faults"
_KEPT = _BUILD / "reports.json"
_KEPT_ELSEWHERE = _BUILD / "elsewhere.json"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--scenario",
        metavar="NAME",
        action="append",
        choices=sorted({*SCENARIOS, *ELSEWHERE}),
        help="which; default: all of a long run. One of: %(choices)s",
    )
    parser.add_argument("--seed", type=int, help="default: from the clock")
    parser.add_argument("--duration", type=float, help="seconds of faults, shared by the scenarios")
    parser.add_argument("--library", type=Path, help="another libworkflows.so, as a mutant's")
    parser.add_argument(
        "--until-violated",
        metavar="SECONDS",
        type=float,
        help="repeat with other seeds until the checker finds something, for so long at most;"
        " fails if it does not",
    )
    parser.add_argument(
        "--patience",
        metavar="SECONDS",
        type=float,
        default=PATIENCE,
        help="for what is left when the faults have stopped; default: %(default)g",
    )
    parser.add_argument("--keep", type=Path, help="where to leave what runs leave")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument(
        "--publish",
        type=Path,
        help="a file for the page of figures: of this run, and of the last one of each scenario"
        " that is not in it",
    )
    parser.add_argument(
        "--again", action="store_true", help="run nothing: write the page from what was kept"
    )
    return parser.parse_args()


class Rig:
    """Runs scenarios one after the other, until all are done or Ctrl-C."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._seed: int = time.time_ns() if arguments.seed is None else arguments.seed
        self._total: float | None = arguments.duration
        self._interrupted = False
        self.reports: list[Report] = []
        # Runs that came to no report.
        self.broken: list[str] = []
        self.skipped: list[str] = []
        self.elsewhere: list[Played] = []

    def run(self) -> bool:
        """Run what was asked for, and say whether all was well."""
        if self._arguments.until_violated is not None:
            return self._until_violated(self._arguments.until_violated)
        names = self._arguments.scenario or [*LONG, *ELSEWHERE]
        total = self._total = self._total or (60 if self._arguments.scenario else 1800)
        weights = {name: LONG.get(name, 1.0) for name in names if name in SCENARIOS}
        for name, weight in weights.items():
            if not self._interrupted:
                self._play(SCENARIOS[name], self._seed, total * weight / sum(weights.values()))
        for name in names:
            if name in ELSEWHERE and not self._interrupted:
                self._play_elsewhere(name)
        return not self.wrong

    @property
    def wrong(self) -> list[str]:
        """The scenarios that something is wrong with."""
        wrong = [each.scenario for each in self.reports if each.wrong]
        return [*self.broken, *wrong, *(each.name for each in self.elsewhere if each.wrong)]

    def _until_violated(self, limit: float) -> bool:
        [name] = self._arguments.scenario or ["smoke"]
        began, seed = time.monotonic(), self._seed
        while time.monotonic() - began < limit and not self._interrupted:
            self._play(SCENARIOS[name], seed, self._arguments.duration or 10)
            if any(each.wrong for each in self.reports):
                print(f"caught after {time.monotonic() - began:.0f} s, with seed {seed}")
                return True
            seed += 1
        print(f"not caught in {time.monotonic() - began:.0f} s")
        return False

    def _play(self, scenario: Scenario, seed: int, duration: float) -> None:
        directory = self._directory(scenario)
        began = time.monotonic()
        try:
            with _log_into(directory / "clients.log"):
                patience: float = self._arguments.patience
                world = World(scenario, seed, duration, directory, patience)
                asyncio.run(self._lived(world))
            made = report(world, time.monotonic() - began)
        except Skipped as reason:
            print(f"--- {scenario.name} is skipped: {reason}\n", flush=True)
            self.skipped.append(scenario.name)
            return
        except Exception:  # the others are played all the same
            traceback.print_exc()
            print(f"--- {scenario.name} broke; what it left is in {directory}\n", flush=True)
            self.broken.append(scenario.name)
            return
        made.total = self._total
        self.reports.append(made)
        print(f"{told(made)}\nverdict of {made.scenario}: {made.verdict}\n", flush=True)
        if made.wrong:
            print(f"what it left is in {directory}", flush=True)

    def _play_elsewhere(self, name: str) -> None:
        what = ELSEWHERE[name]
        print(f"--- {name} (row {what.row}): {what.about}", flush=True)
        played = fault_elsewhere.play(what, self._seed, _BUILD / f"{name}.log")
        self.elsewhere.append(played)
        for figure, n in played.figures.items():
            print(f"{figure}: {n:,}")
        told = f"VIOLATED: {played.wrong}" if played.wrong else "ok"
        seeded = "" if played.seed is None else f", with seed {played.seed}"
        print(f"verdict of {name}: {told}{seeded}\n", flush=True)

    def _directory(self, scenario: Scenario) -> Path:
        parent: Path = self._arguments.keep or _BUILD
        parent.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=f"{scenario.name}-", dir=parent))
        directory.chmod(0o755)  # the server may run as another user
        return directory

    async def _lived(self, world: World) -> None:
        def enough() -> None:
            self._interrupted = True
            world.enough.set()

        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, enough)
        await world.run()


@contextlib.contextmanager
def _log_into(path: Path) -> Generator[None]:
    """Have what the library of this process logs go to a file."""
    terminal = os.dup(2)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _publish(
    page: Path, reports: list[Report], skipped: Sequence[str], broken: Sequence[str] = ()
) -> None:
    """Write the page, in the order of the scenarios, and leave out those that are gone."""
    names = [name for name in SCENARIOS if name in {each.scenario for each in reports}]
    found = {each.scenario: each for each in reports}
    before = page.read_text() if page.exists() else ""
    page.write_text(published([found[name] for name in names], _BUILD, before, skipped, broken))


def main() -> int:
    arguments = _arguments()
    if arguments.library:
        os.environ["WORKFLOWS_LIBRARY"] = str(arguments.library.resolve())
    _BUILD.mkdir(parents=True, exist_ok=True)
    if arguments.again:
        there = kept(_KEPT)
        _publish(arguments.publish, there, sorted(LONG.keys() - {each.scenario for each in there}))
        return 0
    build_checker()
    fault_proxy.build()
    rig = Rig(arguments)
    fine = rig.run()
    if rig.elsewhere:
        fault_elsewhere.keep(_KEPT_ELSEWHERE, rig.elsewhere)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(each) for each in rig.reports], indent=1))
    if arguments.publish and rig.reports:
        _publish(arguments.publish, keep(_KEPT, rig.reports), rig.skipped, rig.broken)
    print(markdown(rig.reports))
    print(f"verdict: {verdict(rig.wrong, rig.skipped)}")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
