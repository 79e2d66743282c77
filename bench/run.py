"""Measures throughput, latency and cost on this machine, beside hand-written SQL and peers.

    .venv/bin/python bench/run.py              this project's, three interleaved rounds
    .venv/bin/python bench/run.py --peers      with peers, which it fetches from the registries
    .venv/bin/python bench/run.py --quick      one short round
    .venv/bin/python bench/run.py --sustained  minutes of load over a million finished rows
    .venv/bin/python bench/run.py --markdown   the tables of the last run, for docs/performance.md

A contestant is a program that does every workload of BENCH_WORKLOADS for BENCH_SECONDS
against BENCH_DATABASE_URL, an empty database, and prints JSON lines:

    {"begin": "drain"}
    {"workload": "drain", "value": 31000, "unit": "/s", "operations": 62000}
    {"workload": "pickup", "value": 1.1, "p99": 2.1, "unit": "ms", "operations": 300}
    {"workload": "idle"}

With BENCH_WAITS set it reads a line from standard input after each line that it prints:
meanwhile the meters are read. What PostgreSQL and the contestant with its children use of
the processor, and what is written ahead, is taken between the two lines of a workload. A
contestant that knows its own better adds "cpu_client", in microseconds for an operation; one
that knows two ways to do a workload prints both, and the better counts.
Workloads that it leaves out stay empty. "idle" comes in a process of its own: a worker is
started and left alone between the two lines, and its statements are counted.

"sustained" prints a line for each BENCH_WINDOW seconds instead:

    {"window": 1, "until": 60.0, "value": 2100, "p50": 43.1, "p99": 80.2}
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from contestants import BUILD, CONTESTANTS, OWN, ROOT, Contestant, keep_library
from measuring import Failed, Sample, add_ratios, measure, medians
from reporting import commit, everything, machine, versions
from server import Server
from sustained import ROWS, sustain
from workloads import WORKLOADS

RESULTS = ROOT / "build" / "bench.json"
IDLE = 10.0  # seconds that a worker is left alone, since some ask rarely

Report = dict[str, Any]
Rounds = dict[str, list[dict[str, Sample]]]


def binaries() -> Path:
    """Answer where PostgreSQL's programs are."""
    return Path(os.environ.get("WORKFLOWS_POSTGRES_BIN", ROOT / ".venv/postgres/bin"))


def say(text: str) -> None:
    """Tell on standard error how far it is."""
    print(text, file=sys.stderr, flush=True)


def run(options: argparse.Namespace, contestants: list[Contestant]) -> Report:
    """Measure contestants in interleaved rounds."""
    peers = [each.name for each in contestants if each.peer]
    report: Report = {
        "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
        "commit": commit(),
        "machine": machine(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "titles": {each.name: each.title for each in contestants},
        "peers": peers,
        "failures": [],
    }
    with Server(binaries(), BUILD) as server:
        report["settings"] = server.settings
        report["versions"] = versions(server.version, peers=bool(peers))
        rounds = interleave(options, contestants, server, report["failures"])
    report["results"] = {name: medians(samples) for name, samples in rounds.items()}
    add_ratios(report["results"], peers)
    return report


def interleave(
    options: argparse.Namespace,
    contestants: list[Contestant],
    server: Server,
    failures: list[str],
) -> Rounds:
    """Measure in rounds, in which nobody always comes first, or always after the same one.

    Args:
        options: The command line's.
        contestants: Take part.
        server: Serves them all.
        failures: Gets what kept a peer from taking part; the others go on without it.
    """
    rounds: Rounds = {each.name: [] for each in contestants}
    busy = [each for each in options.workloads if each != "idle"]
    for number in range(options.rounds):
        turn = number % len(contestants)
        for contestant in contestants[turn:] + contestants[:turn]:
            say(f"round {number + 1}: {contestant.title}")
            try:
                samples = measure(contestant, server, options.seconds, busy) if busy else {}
                # Once is enough: it is counted, not timed.
                if "idle" in options.workloads and contestant.bare and number == 0:
                    samples |= measure(contestant, server, options.idle_seconds, ["idle"])
            except Failed as failure:
                if not contestant.peer:
                    raise SystemExit(str(failure)) from failure
                failures.append(str(failure))
                say(str(failure))
                continue
            rounds[contestant.name].append(samples)
    return rounds


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measures throughput, latency and cost.")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each workload")
    parser.add_argument("--idle-seconds", type=float, default=IDLE)
    parser.add_argument("--peers", action="store_true", help="measure peers, too")
    names = [each.name for each in CONTESTANTS]
    parser.add_argument("--contestants", nargs="+", choices=names, metavar="NAME")
    parser.add_argument(
        "--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS), metavar="W"
    )
    parser.add_argument("--sustained", action="store_true", help="measure only this")
    parser.add_argument("--sustained-seconds", type=float, default=300)
    parser.add_argument("--rows", type=int, default=ROWS, help="finished before it begins")
    parser.add_argument("--markdown", action="store_true", help="draw the last run and stop")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, min(options.seconds, 0.6)
        options.idle_seconds = min(options.idle_seconds, 3)
    return options


def chosen(options: argparse.Namespace) -> list[Contestant]:
    """Answer which contestants to measure."""
    if options.contestants:
        return [each for each in CONTESTANTS if each.name in options.contestants]
    return CONTESTANTS if options.peers else OWN


def before(path: Path) -> Report:
    """Answer the last report, if there is one."""
    return json.loads(path.read_text()) if path.exists() else {}


def main() -> None:
    """Measure, write the report and draw it."""
    options = arguments()
    report = before(options.output)
    if not options.markdown:
        contestants = chosen(options)
        BUILD.mkdir(parents=True, exist_ok=True)
        keep_library()
        for contestant in contestants:
            contestant.build()
        if options.sustained:
            report.setdefault("results", {})
            report.setdefault("peers", [])
            titles = report.setdefault("titles", {})
            titles |= {each.name: each.title for each in contestants}
            report["sustained"] = sustain(options, contestants, binaries(), say)
        else:
            kept = {"sustained": report["sustained"]} if "sustained" in report else {}
            report = {**run(options, contestants), **kept}
            for each in CONTESTANTS:
                report["titles"].setdefault(each.name, each.title)
        options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(everything(report, markdown=options.markdown))


if __name__ == "__main__":
    main()
