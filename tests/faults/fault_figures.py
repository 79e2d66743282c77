"""The figures of a run, from what it left in its directory."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from fault_journal import Entry, entries

Row = dict[str, str]
csv.field_size_limit(sys.maxsize)

# What a worker says of what it runs, which was taken from it or has ended.
_LOST = re.compile(r"the lease of .*?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) was lost; ")
# Who ends it from outside: a client that terminates it, or a deadline.
_OUTSIDE = ("end", "expire")

FINAL = ("completed", "failed", "cancelled")


def rows(directory: Path, table: str) -> list[Row]:
    """Answer a table that was dumped; nothing if it was not."""
    path = directory / f"{table}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def journals(directory: Path, pattern: str) -> Iterable[Entry]:
    for path in sorted(directory.glob(pattern)):
        yield from entries(path)


def percentile(values: Sequence[float], share: float) -> float | None:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None


class Evidence:
    """What is left of a run, read once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.meta = json.loads((directory / "meta.json").read_text())
        self.executions = {row["id"]: row for row in rows(directory, "executions")}
        self.workers = rows(directory, "workers")
        self.nemesis = list(journals(directory, "nemesis.jsonl"))
        self.written: dict[str, list[Row]] = defaultdict(list)
        for row in rows(directory, "audit"):
            if row["tab"] == "executions":
                self.written[row["x"]].append(row)
        for written in self.written.values():
            written.sort(key=lambda row: int(row["n"]))

    def figures(self) -> dict[str, Any]:
        faults = Counter(each["kind"] for each in self.nemesis if each["t"] == "fault")
        found, claimed = self._recoveries()
        waits, handovers = self._waits(), self._handovers()
        return {
            "executions": len(self.executions),
            "ended": dict(Counter(row["status"] for row in self.executions.values())),
            "claims": sum(map(is_claim, self._all())),
            "faults": dict(faults),
            "lost": self._lost(),
            "doubled": self._doubled(),
            "writes_refused": self._refused(),
            **self._told(),
            "crashes_counted": self._crashes(),
            "found_dead_p99_s": percentile(found, 0.99),
            "recovery_p50_s": percentile(claimed, 0.5),
            "recovery_p99_s": percentile(claimed, 0.99),
            "handovers": len(handovers),
            "handover_p99_s": percentile(handovers, 0.99),
            "waited_p50_ms": percentile(waits, 0.5),
            "waited_p99_ms": percentile(waits, 0.99),
            "waited_max_ms": percentile(waits, 1),
            "parked": self._parked(),
            "largest_error": max(
                (len(row["error"]) for row in self.executions.values()), default=0
            ),
            "poison_claims_max": self._poison_claims(),
        }

    def _all(self) -> Iterable[Row]:
        return (row for written in self.written.values() for row in written)

    def _lost(self) -> int:
        """Count acknowledged starts that are not there."""
        acknowledged = {
            call["x"]
            for call in journals(self.directory, "client-*.jsonl")
            if call["op"] == "start" and call["outcome"] == "ok"
        }
        return len(acknowledged - self.executions.keys())

    def _doubled(self) -> int:
        """Count runs that ended more than once."""
        ends: Counter[tuple[str, str]] = Counter()
        for row in self._all():
            if row["new_status"] in FINAL and row["old_status"] not in FINAL:
                ends[row["x"], row["run"]] += 1
        return sum(count > 1 for count in ends.values())

    def _told(self) -> dict[str, int]:
        """Count the holders that were told it is no longer theirs, by what had happened to it."""
        found = {"told_lost": 0, "told_ended": 0}
        for path in self.directory.glob("*.log"):
            for id in _LOST.findall(path.read_text(errors="replace")):
                ended = any(row["statement"] in _OUTSIDE for row in self.written.get(id, ()))
                found["told_ended" if ended else "told_lost"] += 1
        return found

    def _refused(self) -> int:
        """Count the writes that the engine refused because their lease was none any more."""
        return sum(
            line["t"] == "write" and line["code"] == "lease_lost"
            for line in journals(self.directory, "worker-*.jsonl")
        )

    def _crashes(self) -> int:
        """Count how often a crash was held against an execution."""
        return sum(
            int(row["crashes"] or 0) > int(before["crashes"] or 0)
            for written in self.written.values()
            for before, row in pairwise(written)
        )

    def _recoveries(self) -> tuple[list[float], list[float]]:
        """Answer how long what a killed worker held had no holder, until it was found, and claimed.

        In seconds. What crashed twice waits to be claimed alone and is left out.
        """
        dead = self._deaths()
        found: list[float] = []
        claimed: list[float] = []
        for written in self.written.values():
            for n, (before, row) in enumerate(pairwise(written), 1):
                died = dead.get(before["worker"])
                if died is None or not is_taken_away(row) or not at(before) <= died <= at(row):
                    continue
                found.append(at(row) - died)
                claim = next(filter(is_claim, written[n:]), None)
                if claim is not None and claim["alone"] != "t":
                    claimed.append(at(claim) - died)
        return found, claimed

    def _deaths(self) -> dict[str, float]:
        """Answer when which worker was killed; a process may have been several, one by one."""
        offset = self.meta["boottime_offset_ns"]
        killed = {
            each["target"]["name"]: (each["at"] + offset) / 1e9
            for each in self.nemesis
            if each["t"] == "fault" and each["kind"] == "kill9"
        }
        return {row["id"]: killed[row["name"]] for row in self.workers if row["name"] in killed}

    def _handovers(self) -> list[float]:
        """Answer how long what a worker put back waited for its next claim, in seconds."""
        found: list[float] = []
        for written in self.written.values():
            for n, (before, row) in enumerate(pairwise(written), 1):
                if before["releases"] and int(row["releases"]) > int(before["releases"]):
                    claim = next(filter(is_claim, written[n:]), None)
                    if claim is not None:
                        found.append(at(claim) - at(row))
        return found

    def _waits(self) -> list[float]:
        """Answer how long what could run waited, for a slot or to be noticed, in milliseconds."""
        found: list[float] = []
        for written in self.written.values():
            for before, row in pairwise(written):
                if before["new_status"] == "pending" and is_claim(row):
                    found.append(1000 * (at(row) - at(before)))
        return found

    def _poison_claims(self) -> int:
        """Answer how many workers the most successful poison has killed."""
        return max(
            (
                sum(map(is_claim, self.written[id]))
                for id, row in self.executions.items()
                if _is_poison(row)
            ),
            default=0,
        )

    def _parked(self) -> dict[str, int]:
        """Count what was parked, told apart by whether it had it coming."""
        found: Counter[str] = Counter()
        for row in self.executions.values():
            if row["parked"]:
                found["poison" if _is_poison(row) else "innocent"] += 1
        return dict(found)


def _is_poison(row: Row) -> bool:
    return '"how":"kill"' in row["args"].replace(" ", "")


def is_claim(row: Row) -> bool:
    return row["new_status"] == "running" and row["new_epoch"] != row["old_epoch"]


def is_taken_away(row: Row) -> bool:
    """Say whether a write took this from a worker that was declared dead."""
    return row["old_status"] == "running" and row["statement"].endswith("_lost")


def at(row: Row) -> float:
    return datetime.fromisoformat(row["at"]).timestamp()
