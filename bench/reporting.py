"""What stands around the figures, and how they are drawn as tables."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from contestants import BUILD, CEILING, NODE, PEERS_GO, PEERS_NODE, PEERS_PYTHON, ROOT
from goals import Reached, check_goals
from measuring import Sample, fsync
from workloads import WORKLOADS

COLUMNS = 4  # of figures, in one table

Report = dict[str, Any]


def machine() -> dict[str, Any]:
    """Describe this machine, as far as it matters for figures."""
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
        "fsync_ms": fsync(BUILD),
    }


def said(*command: str) -> str:
    """Answer what a command prints."""
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT
    ).stdout.strip()


def commit() -> str:
    """Answer the commit, with a plus if the files have changed since."""
    dirty = "+" if said("git", "status", "--porcelain", "--untracked-files=no") else ""
    return (said("git", "rev-parse", "--short=12", "HEAD") or "unknown") + dirty


def versions(postgresql: str, *, peers: bool) -> dict[str, str]:
    """Answer the versions of everything that takes part."""
    own = {
        "postgresql": postgresql,
        "go": said("go", "env", "GOVERSION"),
        "python": platform.python_version(),
        "node": said(*NODE, "--version"),
    }
    return {**own, **pinned()} if peers else own


def pinned() -> dict[str, str]:
    """Answer the versions of the peers, from their manifests."""
    found: dict[str, str] = json.loads((PEERS_NODE / "package.json").read_text())["dependencies"]
    for line in (PEERS_PYTHON / "requirements.txt").read_text().splitlines():
        name, equals, version = line.partition("==")
        if equals and not line.startswith("#"):
            found[f"{name} (Python)"] = version
    for line in (PEERS_GO / "go.mod").read_text().splitlines():
        words = line.split()
        if len(words) == 2 and "/" in words[0] and words[1].startswith("v"):
            found[words[0]] = words[1]
    return found


# --- tables -----------------------------------------------------------------------------


def heading(report: Report) -> str:
    """Say when, where and with what the run was."""
    on, of = report["machine"], report["versions"]
    return (
        f"{report['at']}, commit {report['commit']}. {on['cpu']}, {on['cores']} cores, "
        f"{on['memory_gib']} GiB, Linux {on['kernel']}, fdatasync {on['fsync_ms']} ms, "
        f"load before the start {on['load_before']}. PostgreSQL {of['postgresql']}, {of['go']}, "
        f"Python {of['python']}, Node {of['node']}. "
        f"Medians of {report['rounds']} interleaved rounds of {report['seconds']:g} s a workload."
    )


def size(bytes_: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if abs(bytes_) < 1000:
            return f"{bytes_:.0f} {unit}" if unit == "B" else f"{bytes_:.1f} {unit}"
        bytes_ /= 1000
    return f"{bytes_:.1f} GB"


def cell(figures: Sample | None) -> str:
    """Write the figures of one contestant in one workload."""
    if figures is None:
        return ""
    if figures["unit"] == "idle":
        memory, bare = figures["memory"], figures["bare"]
        return f"{figures['value']:.1f} queries/s · {memory:.0f} ({bare:.0f}) MiB"
    if figures["unit"] == "ms":
        return f"{figures['value']:.2f} / {figures['p99']:.2f} ms"
    text = f"{figures['value']:,.0f}/s"
    if "ratio" in figures:
        text += f" ({figures['ratio']:.2f})"
    costs = f"{figures['cpu_postgres']:.0f} + {figures['cpu_client']:.0f} µs"
    return f"{text} · {costs} · {size(figures['wal'])}"


def draw(rows: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """Draw a table; its first row is the heading."""
    if markdown:
        ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
        return "\n".join("| " + " | ".join(row) + " |" for row in ruled)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def figures_table(report: Report, names: Iterable[str], *, markdown: bool) -> str:
    """Draw a row for a workload, a column for a contestant."""
    names = list(names)
    rows = [["", *(report["titles"][name] for name in names)]]
    for name, workload in WORKLOADS.items():
        cells = [cell(report["results"][each].get(name)) for each in names]
        if any(cells):
            rows.append([workload.title, *cells])
    return draw(rows, markdown=markdown)


def ratios_table(report: Report, own: Iterable[str], *, markdown: bool) -> str:
    """Draw how many times better each of ours is than each peer, in a workload that both do."""
    peers = report["peers"]
    rows = [["", "", *(report["titles"][peer] for peer in peers)]]
    for workload, said in WORKLOADS.items():
        for name in own:
            against = report["results"][name].get(workload, {}).get("peers")
            if against:
                cells = [f"{against[peer]:.1f} x" if peer in against else "" for peer in peers]
                rows.append([said.title, report["titles"][name], *cells])
    return draw(rows, markdown=markdown)


def goals_table(reached: Iterable[Reached], *, markdown: bool) -> str:
    """Draw what was to be reached, and whether it was."""
    rows = [["to reach", "goal", "figure", "against", "ratio", "reached"]]
    rows += [
        [each.title, each.goal, each.figure, each.against, each.ratio, each.said]
        for each in reached
    ]
    return draw(rows, markdown=markdown)


def sustained_table(report: Report, *, markdown: bool) -> str:
    """Draw throughput, waits and sizes by the minute."""
    rows = [["", "minute", "workflows/s", "p50 / p99", "executions", "history", "indexes"]]
    for name, windows in report["sustained"]["results"].items():
        for number, each in enumerate(windows, 1):
            rows.append(
                [
                    report["titles"][name] if number == 1 else "",
                    f"{each['until'] / 60:.1f}",
                    f"{each['value']:,.0f}",
                    f"{each['p50']:.1f} / {each['p99']:.1f} ms",
                    *(size(each[part]) for part in ("executions", "history", "indexes")),
                ]
            )
    return draw(rows, markdown=markdown)


def everything(report: Report, *, markdown: bool) -> str:
    """Write the whole report, as far as it was measured."""
    own = [name for name in report["results"] if name not in report["peers"]]
    parts: list[str] = []
    if report["results"]:
        parts.append(heading(report))
    if own:
        parts.append(figures_table(report, own, markdown=markdown))
    measured = [peer for peer in report["peers"] if report["results"].get(peer)]
    for first in range(0, len(measured), COLUMNS):
        peers = measured[first : first + COLUMNS]
        parts.append(figures_table(report, peers, markdown=markdown))
    if own and report["peers"]:
        mine = [name for name in own if name != CEILING]
        parts.append(ratios_table(report, mine, markdown=markdown))
    parts += [f"Not measured: {failure}." for failure in report.get("failures", [])]
    if "sustained" in report:
        about = report["sustained"]
        parts.append(
            f"Sustained, {about['at']}, commit {about['commit']}: no-op workflows, 100 in flight,"
            f" for {about['seconds']:g} s over {about['rows']:,} finished ones."
        )
        parts.append(sustained_table(report, markdown=markdown))
    parts.append(goals_table(check_goals(report), markdown=markdown))
    return "\n\n".join(parts)
