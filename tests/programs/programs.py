"""Runs many programs in slices, and tells how it goes: `make programs`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).parents[1] / "crash"))

import workflows
from crash_stage import BINARIES, Stage
from program_evidence import by_language, counted
from program_generator import Program
from program_languages import LANGUAGES, fit
from program_languages import program as made
from program_processes import replayers
from program_run import Plan, Report, Slice
from program_shrink import size, smaller
from workflows import Client
from workflows import _operations as operations

_SLICE = 50
# Copies of one program, because what goes wrong once need not go wrong again.
_COPIES = 30
# Smaller programs that are tried at once, and copies of each.
_TRIED, _COPIES_TRIED = 30, 2
# Seconds after which a smaller program counts as hanging.
_HANGS = 30.0


def program(seed: int) -> Program:
    """Make the program of a seed; some continue as new where the adapter can."""
    return made(seed, continues=hasattr(workflows, "continue_as_new"))


async def run(url: str, programs: Sequence[Program], plan: Plan, directory: Path) -> Report:
    """Run programs in a schema of their own."""
    schema = f"programs_{uuid.uuid4().hex[:16]}"
    directory.mkdir(parents=True)  # noqa: ASYNC240
    async with (
        Client(url, schema=schema, pool_size=3, postgres_binaries=BINARIES) as client,
        replayers() as replaying,
    ):
        await client.migrate()
        stage = Stage(url, schema, directory, client)
        try:
            report = await Slice(stage, plan, replaying).run(programs)
        finally:
            stage.clear_away()
        await operations.migrate(client.engine.channel(), {"direction": "down", "confirm": schema})
    return report


def tell(report: Report) -> str:
    """Tell what went wrong, with all that is known of it."""
    return "".join(
        f"\n=== seed {failed.seed}; again: make programs SEED={failed.seed}\n"
        + "\n".join([*problems, story, ""])
        for failed, problems, story in report.failed
    )


def tally(found: Counter[tuple[str, str]]) -> str:
    """Tell how many programs there were, and what came of them, by language."""
    kinds = {"program": "programs", "workflow": "workflows", "activity": "activities"}
    return "; ".join(
        f"{many}: " + ", ".join(f"{found[kind, language]} in {language}" for language in LANGUAGES)
        for kind, many in kinds.items()
    )


class Runs:
    """Slices, one after another, on one PostgreSQL."""

    def __init__(self, url: str, directory: Path, kills: bool) -> None:
        self._url = url
        self._directory = directory
        self._kills = kills
        self._count = 0

    async def run(self, programs: Sequence[Program], deadline: float | None = None) -> Report:
        began = time.monotonic()
        plan = Plan(seed=programs[0].seed + self._count, kills=self._kills)
        if deadline is not None:
            plan = replace(plan, deadline=deadline)
        self._count += 1
        report = await run(self._url, programs, plan, self._directory / str(self._count))
        print(
            f"seeds {programs[0].seed} to {programs[-1].seed}: {counted(report.trees)}, "
            f"{report.kills} kills, {report.stops} long stops, {time.monotonic() - began:.0f} s, "
            f"{len(report.failed)} failures",
            flush=True,
        )
        return report

    async def shrink(self, failing: Program) -> None:
        """Look for the smallest program that still fails."""
        while True:
            tried = [
                replace(failing, root=fit(root, failing.language))
                for root, _ in zip(smaller(failing.root), range(_TRIED), strict=False)
            ]
            if not tried:
                return
            report = await self.run(tried * _COPIES_TRIED, deadline=_HANGS)
            failed = sorted((each for each, _, _ in report.failed), key=lambda it: size(it.root))
            if not failed:
                return
            failing = failed[0]
            print(f"fails with {size(failing.root)} parts: {json.dumps(failing.root)}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=1000, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=1, help="the seed to begin with")
    parser.add_argument("--seed", type=int, help="only the program of this seed, many times")
    parser.add_argument("--shrink", action="store_true", help="look for a smaller one that fails")
    parser.add_argument("--calm", action="store_true", help="kill nobody")
    return parser.parse_args()


def _slices(arguments: argparse.Namespace) -> Iterator[list[Program]]:
    if arguments.seed is not None:
        yield [program(arguments.seed)] * _COPIES
        return
    last = arguments.first + arguments.programs
    for start in range(arguments.first, last, _SLICE):
        yield [program(seed) for seed in range(start, min(start + _SLICE, last))]


async def main() -> int:
    """Run what the arguments ask for, and answer the exit code."""
    arguments, failures, ran = _arguments(), 0, Counter[tuple[str, str]]()
    stop = cast("asyncio.Task[int]", asyncio.current_task()).cancel
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)  # the workers go too
    with tempfile.TemporaryDirectory(prefix="programs-") as temporary:
        url = f"embedded:{temporary}/postgres"
        async with Client(url, schema="keeper", postgres_binaries=BINARIES, pool_size=1) as keeper:
            await keeper.migrate()  # it runs until the last slice has ended
            runs = Runs(url, Path(temporary), kills=not arguments.calm)
            for programs in _slices(arguments):
                report = await runs.run(programs)
                failures += len(report.failed)
                ran += by_language(report.trees)
                print(tell(report), end="", flush=True)
                if report.failed and arguments.shrink:
                    await runs.shrink(report.failed[0][0])
    print(tally(ran))
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
