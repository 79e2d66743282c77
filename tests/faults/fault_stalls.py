"""Bodies that hold up an event loop: how soon that is told, and what is claimed meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from fault_figures import Evidence, at, is_claim, journals, percentile

Span = tuple[float, float]

_TOLD = re.compile(
    r"^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) WARN the event loop of this process has taken no reply",
    re.MULTILINE,
)
# Looks are two seconds apart, and the third in a row tells: longer than that is told, unless
# nothing came that the loop could have taken.
_LONG_S = 9.0


def told(log: str) -> list[float]:
    """Answer when a worker said that it is stalled: a log has whole seconds, so it is their end."""
    return [
        datetime.strptime(each, "%Y/%m/%d %H:%M:%S").timestamp() + 1 for each in _TOLD.findall(log)
    ]


def blocks(
    lines: Iterable[Mapping[str, Any]], blocking: Mapping[str, Any], offset: int
) -> list[Span]:
    """Answer from when until when bodies held up the loop of one worker, from its journal."""
    found: list[Span] = []
    begun: dict[str, float] = {}
    for line in lines:
        if line.get("x") not in blocking or line["t"] not in ("begin", "end"):
            continue
        when = (line["at"] + offset) / 1e9
        if line["t"] == "begin":
            begun[line["x"]] = when
        elif line["x"] in begun:
            found.append((begun.pop(line["x"]), when))
    return sorted(found)


def delays(spans: Sequence[Span], words: Sequence[float]) -> list[float]:
    """Answer how long after the begin of a block it was told."""
    return [word - begin for word in words for begin, end in spans if begin <= word <= end + 1]


def untold(spans: Sequence[Span], words: Sequence[float]) -> int:
    """Count the long blocks that nobody was told of, neither then nor in the one just before."""
    return sum(
        end - begin >= _LONG_S and not any(begin - _LONG_S <= word <= end + 1 for word in words)
        for begin, end in spans
    )


def figures_of_stalls(evidence: Evidence) -> dict[str, Any]:
    """Answer what came of bodies that held up their loops; nothing if there were none."""
    blocking = {id: row for id, row in evidence.executions.items() if '"block_ms"' in row["args"]}
    if not blocking:
        return {}
    offset = evidence.meta["boottime_offset_ns"]
    found: list[float] = []
    missed, claimed = 0, 0
    for path in sorted(evidence.directory.glob("worker-*.jsonl")):
        name = path.stem.removeprefix("worker-")
        spans = blocks(journals(evidence.directory, path.name), blocking, offset)
        words = told((evidence.directory / f"{name}.log").read_text(errors="replace"))
        found += delays(spans, words)
        missed += untold(spans, words)
        claimed += _claims(evidence, name, spans, words)
    return {
        "stalls_told": len(found),
        "stall_told_p50_s": percentile(found, 0.5),
        "stall_told_max_s": percentile(found, 1),
        "stalls_untold": missed,
        "claims_while_stalled": claimed,
    }


def _claims(evidence: Evidence, name: str, spans: Sequence[Span], words: Sequence[float]) -> int:
    """Count what a worker claimed between its word that it is stalled and the end of the block."""
    ids = {worker["id"] for worker in evidence.workers if worker["name"] == name}
    stalled = [(word, end) for word in words for begin, end in spans if begin <= word < end]
    return sum(
        is_claim(row) and row["worker"] in ids and any(a < at(row) < b for a, b in stalled)
        for written in evidence.written.values()
        for row in written
    )
