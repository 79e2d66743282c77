"""Runs a contestant and takes down what it does, and what that costs."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contestants import BUILD, CEILING, LIBRARY, ROOT, VENV, Contestant
from server import Database, Server, cpu_seconds, resident_bytes
from workloads import WORKLOADS

Sample = dict[str, Any]
MIB = 2**20


class Failed(Exception):
    """A contestant did not do what it should."""


def measure(
    contestant: Contestant,
    server: Server,
    seconds: float,
    workloads: Iterable[str],
    on_line: Callable[[Database, Sample], bool] = lambda _database, _line: False,
    prepare: Callable[[Database], None] = lambda _database: None,
    **more: str,
) -> dict[str, Sample]:
    """Run a contestant once, on an empty database, and answer what it printed, with its costs.

    Args:
        contestant: Is started as a process of its own.
        server: Makes the database.
        seconds: For each workload.
        workloads: Those that it does, if it knows them.
        on_line: Is given each line first, and answers whether it was for it.
        prepare: Is given the database before the contestant starts.
        more: More of the contestant's environment.
    """
    wanted = list(workloads)
    with server.database(counted="idle" in wanted) as database:
        prepare(database)
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("WORKFLOWS")},
            "PATH": f"{server.binaries}:{os.environ['PATH']}",  # a peer wants psql
            "BENCH_DATABASE_URL": database.url,
            "BENCH_SECONDS": str(seconds),
            "BENCH_WORKLOADS": ",".join(wanted),
            "BENCH_ROOT": str(ROOT),
            "BENCH_VENV": str(VENV),
            "BENCH_WAITS": "1",
            "WORKFLOWS_LIBRARY": str(LIBRARY),
            **more,
        }
        process = subprocess.Popen(
            contestant.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=BUILD,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        tally = Tally(process.pid, server.pid, database, contestant)
        try:
            for text in process.stdout:
                line: Sample = json.loads(text)
                if not on_line(database, line):
                    tally.hear(line)
                    with contextlib.suppress(BrokenPipeError):  # its status will tell why
                        process.stdin.write("\n")
                        process.stdin.flush()
            process.wait(60)
        finally:
            process.kill()
            process.communicate()
    if process.returncode != 0:
        raise Failed(f"{contestant.title} ended with status {process.returncode}")
    return tally.samples


@dataclass(frozen=True)
class Meters:
    """What has been used up to now."""

    client: float
    postgres: float
    wal: int
    queries: int
    at: float


@dataclass
class Tally:
    """Adds to what a contestant prints what it has used meanwhile."""

    client: int
    postgres: int
    database: Database
    contestant: Contestant
    samples: dict[str, Sample] = field(default_factory=dict[str, Sample])
    _before: Meters | None = None

    def hear(self, line: Sample) -> None:
        if "begin" in line:
            self._before = self._read(idle=line["begin"] == "idle")
            return
        workload = line.pop("workload")
        before, after = self._before, self._read(idle=workload == "idle")
        if before is None:
            raise Failed(f"{self.contestant.title} ended {workload} before it began")
        operations = max(1, line.pop("operations", 1))
        line.setdefault("cpu_client", (after.client - before.client) / operations * 1e6)
        line.setdefault("cpu_postgres", (after.postgres - before.postgres) / operations * 1e6)
        line.setdefault("wal", (after.wal - before.wal) / operations)
        if workload == "idle":
            line = self._idle(before, after)
        elif workload in self.samples and ratio(self.samples[workload], line) > 1:
            return  # it knows two ways, and the first was the better one
        self.samples[workload] = line

    def _read(self, *, idle: bool) -> Meters:
        return Meters(
            cpu_seconds(self.client),
            cpu_seconds(self.postgres),
            self.database.wal(),
            self.database.statements() if idle else 0,
            time.monotonic(),
        )

    def _idle(self, before: Meters, after: Meters) -> Sample:
        took = after.at - before.at
        return {
            "unit": "idle",
            "value": (after.queries - before.queries) / took,
            "cpu_client": (after.client - before.client) / took * 1e6,
            "memory": resident_bytes(self.client) / MIB,
            "bare": bare_memory(self.contestant),
        }


def bare_memory(contestant: Contestant) -> float:
    """Answer the resident memory, in MiB, of a process of the language that does nothing."""
    process = subprocess.Popen(contestant.bare)
    try:
        before, now = -1, 0
        while now != before:  # until it has loaded what it loads
            time.sleep(0.3)
            before, now = now, resident_bytes(process.pid)
        return now / MIB
    finally:
        process.kill()
        process.wait()


# --- after the rounds -------------------------------------------------------------------


def medians(rounds: list[dict[str, Sample]]) -> dict[str, Sample]:
    """Answer each workload's medians over the rounds, with the values that they come from."""
    result: dict[str, Sample] = {}
    for workload in WORKLOADS:
        samples = [each[workload] for each in rounds if workload in each]
        if not samples:
            continue
        fields = [name for name, value in samples[0].items() if not isinstance(value, str)]
        result[workload] = {
            "unit": samples[0]["unit"],
            **{name: statistics.median(each[name] for each in samples) for name in fields},
            "rounds": [each["value"] for each in samples],
        }
    return result


def ratio(figures: Sample, other: Sample) -> float:
    """Answer how many times better one figure is than another: above 1 is better."""
    if not figures["value"] or not other["value"]:
        return 0.0
    times = figures["value"] / other["value"]
    return times if figures["unit"] == "/s" else 1 / times


def add_ratios(results: dict[str, dict[str, Sample]], peers: Iterable[str]) -> None:
    """Add to each figure what it is of the ceiling's and of each peer's in this run."""
    for name, mine in results.items():
        for workload, figures in mine.items():
            if workload == "idle":
                continue
            ceiling = results.get(CEILING, {}).get(workload)
            if ceiling is not None and name != CEILING:
                figures["ratio"] = ratio(figures, ceiling)
            others = {peer: results.get(peer, {}).get(workload) for peer in peers}
            if name not in others:
                found = {peer: ratio(figures, its) for peer, its in others.items() if its}
                figures["peers"] = found


def fsync(directory: Path) -> float:
    """Answer the median time that the disk takes to keep 8 KiB, which a commit waits for."""
    took = list[float]()
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(100):
            started = time.perf_counter()
            file.write(bytes(8192))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    return round(statistics.median(took) * 1000, 2)
