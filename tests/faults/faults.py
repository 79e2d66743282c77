"""Runs the rig: `faults.py --scenario kill9 --seed 7 --duration 60`. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

for _folder in (ROOT / "bench", ROOT / "tests" / "programs", ROOT / "tests" / "crash", HERE):
    sys.path.insert(0, str(_folder))

from fault_figures import Evidence
from fault_scenarios import SCENARIOS
from fault_world import Scenario, World

_BUILD = ROOT / "build" / "faults"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", metavar="NAME", action="append", choices=sorted(SCENARIOS))
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock")
    parser.add_argument("--duration", type=float, default=60, help="seconds of each scenario")
    parser.add_argument("--library", type=Path, help="another libworkflows.so, as a mutant's")
    parser.add_argument("--keep", type=Path, help="where to leave everything that a run leaves")
    return parser.parse_args()


async def play(scenario: Scenario, seed: int, duration: float, directory: Path) -> dict[str, Any]:
    """Run one scenario, and answer its figures and what was wrong."""
    world = World(scenario, seed, duration, directory)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, world.enough.set)
    try:
        await world.run()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    figures = {**Evidence(directory).figures(), **world.figures}
    wrong = [*world.wrong, *world.clients.wrong]
    for name in ("lost", "doubled", "deadlocks"):
        if figures[name]:
            wrong.append(f"{name}: {figures[name]}")
    if figures["parked"].get("innocent"):
        wrong.append(f"innocents were parked: {figures['parked']}")
    return {"scenario": scenario.name, "seed": seed, "figures": figures, "wrong": wrong}


def main() -> int:
    arguments = _arguments()
    if arguments.library:
        os.environ["WORKFLOWS_LIBRARY"] = str(arguments.library.resolve())
    seed = time.time_ns() if arguments.seed is None else arguments.seed
    _BUILD.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in arguments.scenario or ["smoke"]:
        directory = arguments.keep or Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_BUILD))
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)  # the server may run as another user
        report = asyncio.run(play(SCENARIOS[name], seed, arguments.duration, directory))
        print(json.dumps(report, indent=1))
        failed = failed or bool(report["wrong"])
    print(f"verdict: {'VIOLATED' if failed else 'ok'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
