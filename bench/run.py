"""Measures throughput and latency on this machine, beside hand-written SQL.

    .venv/bin/python bench/run.py              three interleaved rounds, four minutes at most
    .venv/bin/python bench/run.py --quick      one short round, half a minute
    .venv/bin/python bench/run.py --markdown   the table of the last run, for docs/performance.md

A contestant is a program that does every workload for BENCH_SECONDS against
BENCH_DATABASE_URL, an empty database, and prints JSON lines:

    {"begin": "drain"}
    {"workload": "drain", "value": 31000, "unit": "/s", "operations": 62000}
    {"workload": "pickup", "value": 1.1, "p99": 2.1, "unit": "ms", "operations": 300}

The processor time of PostgreSQL and of the contestant with its children is taken
between the two lines of a workload. A contestant that knows its own better adds
"cpu_client", in microseconds for an operation. Workloads that it leaves out stay empty.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server import SETTINGS, Server, cpu_seconds

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
RESULTS = ROOT / "build" / "bench.json"
LIBRARY = BUILD / "libworkflows.so"

WORKLOADS = {
    "enqueue_single": "jobs enqueued one by one, 200 callers",
    "enqueue_batch": "jobs enqueued in batches of 500",
    "drain": "no-op jobs drained",
    "workflow_1": "no-op workflows, 1 in flight",
    "workflow_100": "no-op workflows, 100 in flight",
    "steps_100": "recorded steps, 100 workflows in flight",
    "pickup": "job enqueued until its body starts",
    "pickup_apart": "the same, worker in another process",
    "result": "no-op workflow, start to result",
    "result_apart": "the same, worker in another process",
}

Sample = dict[str, Any]


@dataclass(frozen=True)
class Contestant:
    """A program that is measured."""

    name: str
    title: str
    command: list[str]
    build: Callable[[], None] = lambda: None


def _build_ceiling() -> None:
    _check(["go", "build", "-C", str(ROOT / "bench"), "-o", str(BUILD / "ceiling"), "./ceiling"])


def _build_c() -> None:
    _check(
        [
            *(os.environ.get("CC", "cc"), "-std=c99", "-O2", "-pthread"),
            *("-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'include'}"),
            *(str(ROOT / "bench" / "c" / "bench.c"), "-o", str(BUILD / "c")),
            *(str(LIBRARY), f"-Wl,-rpath,{BUILD}"),
        ]
    )


CONTESTANTS = [
    Contestant("sql", "raw SQL", [str(BUILD / "ceiling")], _build_ceiling),
    Contestant("c", "C ABI", [str(BUILD / "c")], _build_c),
    Contestant("python", "Python", [sys.executable, str(ROOT / "bench/python/contestant.py")]),
]
CEILING = "sql"


def _check(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{ended.stdout}{ended.stderr}")


# --- measuring ------------------------------------------------------------------------


def measure(
    contestant: Contestant, server: Server, seconds: float, workloads: Iterable[str]
) -> dict[str, Sample]:
    """Run a contestant once and answer what it printed, with processor time."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WORKFLOWS_")},
        "BENCH_DATABASE_URL": server.new_database(),
        "BENCH_SECONDS": str(seconds),
        "BENCH_WORKLOADS": ",".join(workloads),
        "BENCH_ROOT": str(ROOT),
        "WORKFLOWS_LIBRARY": str(LIBRARY),
    }
    process = subprocess.Popen(
        contestant.command, stdout=subprocess.PIPE, text=True, env=environment, cwd=BUILD
    )
    assert process.stdout is not None
    samples: dict[str, Sample] = {}
    try:
        _listen(process.stdout, process.pid, server.pid, samples)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise SystemExit(f"{contestant.title} ended with status {process.returncode}")
    return samples


def _listen(lines: Iterable[str], client: int, database: int, samples: dict[str, Sample]) -> None:
    before = 0.0, 0.0
    for text in lines:
        line: Sample = json.loads(text)
        if "begin" in line:
            before = cpu_seconds(client), cpu_seconds(database)
            continue
        used = cpu_seconds(client) - before[0], cpu_seconds(database) - before[1]
        operations = max(1, line.pop("operations", 1))
        line.setdefault("cpu_client", used[0] / operations * 1e6)
        line.setdefault("cpu_postgres", used[1] / operations * 1e6)
        samples[line.pop("workload")] = line


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


def with_ratios(results: dict[str, dict[str, Sample]]) -> None:
    """Add to each figure what it is of the ceiling's in this run: above 1 is better."""
    for workload, ceiling in results.get(CEILING, {}).items():
        for figures in results.values():
            if workload in figures:
                ratio = figures[workload]["value"] / ceiling["value"]
                figures[workload]["ratio"] = 1 / ratio if ceiling["unit"] == "ms" else ratio


# --- describing -----------------------------------------------------------------------


def machine() -> dict[str, Any]:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        # With anything above 0 before the start, somebody else uses the machine.
        "load_before": round(os.getloadavg()[0], 2),
        "fsync_ms": fsync(),
    }


def fsync() -> float:
    """Answer the median time that the disk takes to keep 8 KiB, which a commit waits for."""
    path, took = BUILD / "fsync", list[float]()
    with path.open("wb", buffering=0) as file:
        for _ in range(100):
            started = time.perf_counter()
            file.write(bytes(8192))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    path.unlink()
    return round(statistics.median(took) * 1000, 2)


def _said(*command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT
    ).stdout.strip()


def commit() -> str:
    dirty = "+" if _said("git", "status", "--porcelain") else ""
    return (_said("git", "rev-parse", "--short=12", "HEAD") or "unknown") + dirty


def cell(figures: Sample | None) -> str:
    if figures is None:
        return ""
    if figures["unit"] == "ms":
        return f"{figures['value']:.2f} / {figures['p99']:.2f} ms"
    text = f"{figures['value']:,.0f}/s"
    if "ratio" in figures and figures["ratio"] != 1:
        text += f" ({figures['ratio']:.2f})"
    return f"{text} · {figures['cpu_postgres']:.0f} + {figures['cpu_client']:.0f} µs"


def table(report: dict[str, Any], *, markdown: bool) -> str:
    """Draw the report: a row for a workload, a column for a contestant."""
    names = list(report["results"])
    rows = [["", *(report["titles"][name] for name in names)]]
    for workload, title in WORKLOADS.items():
        cells = [cell(report["results"][name].get(workload)) for name in names]
        if any(cells):
            rows.append([title, *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    if markdown:
        rows.insert(1, ["---"] * len(widths))
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def heading(report: dict[str, Any]) -> str:
    on, versions = report["machine"], report["versions"]
    return (
        f"{report['at']}, commit {report['commit']}. {on['cpu']}, {on['cores']} cores, "
        f"{on['memory_gib']} GiB, Linux {on['kernel']}, fdatasync {on['fsync_ms']} ms, "
        f"load before the start {on['load_before']}. "
        f"PostgreSQL {versions['postgresql']}, {versions['go']}, Python {versions['python']}. "
        f"Medians of {report['rounds']} interleaved rounds of {report['seconds']:g} s a workload."
    )


def keep_library() -> None:
    """Copy the library, so that a build that goes on meanwhile does not change what is measured."""
    draft = LIBRARY.with_suffix(f".{os.getpid()}")
    shutil.copy(os.environ.get("WORKFLOWS_LIBRARY", ROOT / "build/libworkflows.so"), draft)
    draft.replace(LIBRARY)


# --- the run --------------------------------------------------------------------------


def run(options: argparse.Namespace) -> dict[str, Any]:
    contestants = [each for each in CONTESTANTS if each.name in options.contestants]
    BUILD.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
        "commit": commit(),
        "machine": machine(),
        "settings": SETTINGS,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "titles": {each.name: each.title for each in contestants},
    }
    keep_library()
    for contestant in contestants:
        contestant.build()
    binaries = Path(os.environ.get("WORKFLOWS_POSTGRES_BIN", ROOT / ".venv/postgres/bin"))
    rounds: dict[str, list[dict[str, Sample]]] = {each.name: [] for each in contestants}
    with Server(binaries, BUILD) as server:
        report["versions"] = {
            "postgresql": server.version,
            "go": _said("go", "env", "GOVERSION"),
            "python": platform.python_version(),
        }
        for number in range(options.rounds):
            # Nobody always comes first, or always after the same one.
            turn = number % len(contestants)
            for contestant in contestants[turn:] + contestants[:turn]:
                print(f"round {number + 1}: {contestant.title}", file=sys.stderr, flush=True)
                samples = measure(contestant, server, options.seconds, options.workloads)
                rounds[contestant.name].append(samples)
    report["results"] = {name: medians(samples) for name, samples in rounds.items()}
    with_ratios(report["results"])
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures throughput and latency.")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each workload")
    parser.add_argument("--markdown", action="store_true", help="draw the last run and stop")
    parser.add_argument("--output", type=Path, default=RESULTS)
    names = [each.name for each in CONTESTANTS]
    parser.add_argument("--contestants", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS), metavar="W"
    )
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, min(options.seconds, 0.6)
    if options.markdown:
        report = json.loads(options.output.read_text())
        print(heading(report), table(report, markdown=True), sep="\n\n")
        return
    report = run(options)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(heading(report), table(report, markdown=False), sep="\n\n")


if __name__ == "__main__":
    main()
