"""Draws the last run of the benchmark, as a PNG and an SVG.

bench/chart.py                              from build/bench.json, as build/bench.{png,svg}
bench/chart.py --output docs/performance    as docs/performance.{png,svg}
"""

# matplotlib is in an environment of its own, which `make bench` makes.
# pyright: reportMissingImports=false, reportMissingModuleSource=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.patches import Patch

ROOT = Path(__file__).parents[1]

PANELS = {
    "drain": "No-op jobs drained, jobs/s",
    "workflow_100": "No-op workflows, 100 in flight, workflows/s",
    "steps_100": "Recorded steps, 100 workflows in flight, steps/s",
    "activities_100": "Activities in sequence, 100 workflows in flight, activities/s",
    "pickup": "Job enqueued until its body starts, ms (p50; line: p99)",
    "result": "No-op workflow, start to result, ms (p50; line: p99)",
}
CEILING = "sql"
FAR = 10  # times the median
OURS, THEIRS, LIMIT = "#1f5fa8", "#b9bec6", "#e3c98a"
LEGEND = {OURS: "libworkflows", LIMIT: "hand-written SQL, no functions", THEIRS: "peers"}
INK, FAINT = "#22262b", "#6b727c"
STEPS_OF_OTHERS = "activities_100"  # which some do in their own process, as steps

Report = dict[str, Any]


def color(name: str, report: Report) -> str:
    if name == CEILING:
        return LIMIT
    return THEIRS if name in report["peers"] else OURS


def write(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def longest_bar(figures: list[dict[str, Any]]) -> float:
    """Answer what the axis has to hold: of times one that is far off would hide all others."""
    values = [each["value"] for each in figures] or [1]
    far = FAR * statistics.median(values) if figures and figures[0]["unit"] == "ms" else max(values)
    return min(max(values), far) or 1


def draw_bar(axes: Any, row: int, each: dict[str, Any], longest: float, paint: str) -> None:
    """Draw one contestant's figure, and of times the way to its p99."""
    end = min(each["value"], longest)
    axes.barh(row, end, height=0.7, color=paint)
    said = write(each["value"])
    if each["unit"] == "ms":
        said += f" / {write(each['p99'])}"
        if each["value"] > longest:
            said = f"and on, to {said}"
        worst = min(each["p99"], longest * 1.3)
        axes.plot([end, max(end, worst)], [row, row], color=FAINT, lw=1)
        end = max(end, worst)
    axes.text(end + longest * 0.02, row, said, va="center", fontsize=8.5, color=INK)


def draw_panel(axes: Any, report: Report, workload: str, title: str) -> None:
    """Draw a bar for each contestant that took part, the first on top."""
    measured = [name for name in report["results"] if workload in report["results"][name]]
    figures = [report["results"][name][workload] for name in measured]
    longest = longest_bar(figures)
    axes.set_title(title, loc="left", fontsize=10, color=INK, pad=8)
    for row, (name, each) in enumerate(zip(measured, figures, strict=True)):
        draw_bar(axes, row, each, longest, color(name, report))
    titles = [report["titles"][name] for name in measured]
    if workload == STEPS_OF_OTHERS:
        titles = [
            f"{text} (steps)" if name in report["peers"] else text
            for name, text in zip(measured, titles, strict=True)
        ]
    axes.set_yticks(range(len(measured)), titles, fontsize=9, color=INK)
    axes.set_xlim(0, longest * (1.75 if figures and figures[0]["unit"] == "ms" else 1.2))
    axes.set_ylim(max(len(measured), 1) - 0.4, -0.6)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def draw(report: Report, output: Path) -> None:
    """Draw all panels into one picture, and keep it in both formats."""
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same report, the same file
    mpl.rcParams["font.family"] = "DejaVu Sans"
    most = max(len(report["results"]), 3)
    figure, panels = plt.subplots(3, 2, figsize=(13, 3 * (0.27 * most + 0.9)))
    for axes, (workload, title) in zip(panels.flat, PANELS.items(), strict=True):
        draw_panel(axes, report, workload, title)
    on = report["machine"]
    figure.suptitle("libworkflows beside hand-written SQL and peers", x=0.01, ha="left", color=INK)
    figure.text(
        *(0.01, 0.008),
        f"{report['at']}, commit {report['commit']}, {on['cores']} cores, PostgreSQL"
        f" {report['versions']['postgresql']}, load before the start {on['load_before']},"
        f" medians of {report['rounds']} interleaved rounds. Compare within one run only.",
        fontsize=8,
        color=FAINT,
    )
    figure.legend(
        handles=[Patch(color=paint, label=text) for paint, text in LEGEND.items()],
        **{"loc": "upper right", "ncols": len(LEGEND), "frameon": False, "fontsize": 9},
    )
    figure.tight_layout(rect=(0, 0.02, 1, 0.99), h_pad=2, w_pad=3)
    for suffix, about in ((".png", {}), (".svg", {"Date": None})):
        figure.savefig(output.with_suffix(suffix), dpi=130, facecolor="white", metadata=about)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws the last run of the benchmark.")
    parser.add_argument("--input", type=Path, default=ROOT / "build" / "bench.json")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args()
    mpl.use("agg")
    report = json.loads(options.input.read_text())
    if not report["results"]:
        print("nothing to draw but what was sustained")
        return
    draw(report, options.output)
    print(f"{options.output}.png, {options.output}.svg")


if __name__ == "__main__":
    main()
