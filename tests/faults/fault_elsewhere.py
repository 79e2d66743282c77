"""Rows of the matrix that programs of their own play: named and seeded like the scenarios."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fault_markdown import table
from fault_server import ROOT

TITLE = "Rows that programs of their own play"


@dataclass(frozen=True)
class Elsewhere:
    """What plays a row, and what to read of what it prints."""

    name: str
    row: str
    about: str
    command: Sequence[str]
    # Figures: the sum of the numbers that a pattern finds, or how often it is found.
    counts: Mapping[str, str] = field(default_factory=dict[str, str])
    # Figures that the command is told to reach, and fails if it does not.
    given: Mapping[str, int] = field(default_factory=dict[str, int])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    # Of make, to be built before.
    needs: Sequence[str] = ()
    # How large its seeds are.
    seeds: int = 2**32

    @property
    def is_seeded(self) -> bool:
        """Whether two seeds make a difference."""
        return any("{seed}" in each for each in (*self.command, *self.environment.values()))


_GO = ("go", "test", "-count=1", "-v")
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=1800")
_PASSED = r"(\d+) passed"
_CALLS = 10_000_000
_CALLS_OF = r"==> build/{}/fuzz .*\n.*\n(\d+) calls, "
_DOUBLES = 1_000_000
_PROGRAMS = 1000
_FUZZERS = ("build/address/fuzz", "build/race/fuzz")

ELSEWHERE = {
    each.name: each
    for each in (
        Elsewhere(
            "boundaries",
            "3",
            "a process is killed before and after each statement and each commit, the first three"
            " times that it comes there, and of a migration; what is left must come to its"
            " end as if nothing had been",
            (
                *(*_GO, "-tags", "failpoints", "-parallel=8", "-timeout=30m"),
                *("-run", "^TestADeath", "./core/engine"),
            ),
            counts={
                "points covered": r"a death at \S+:1:kill",
                "deaths": "a death at ",
                "of them in a migration": r"a death at \w+:=migrate_",
            },
            environment={"LIBWORKFLOWS_TEST_TIMES": "3"},
        ),
        Elsewhere(
            "cable",
            "20",
            "the host of a worker is gone without a word, and comes back; TCP keepalive of both"
            " sides, which a proxy would answer",
            (*_PYTEST, "-s", "tests/faults/test_cable.py"),
            counts={
                name: rf"(\d+) {name}"
                for name in (
                    "ms until taken over",
                    "ms until sessions freed",
                    "ms until back at work",
                )
            },
        ),
        Elsewhere(
            "standby",
            "28",
            "a standby that nobody has promoted: it is read from, a write to it is tried again for"
            " half a minute and then refused, and a worker waits; once promoted, it serves them",
            (*_PYTEST, "-s", "tests/faults/test_standby.py"),
            counts={
                name: rf"(\d+) {name}"
                for name in (
                    "ms until a write was refused",
                    "ms of a processor a waiting worker used",
                )
            },
        ),
        Elsewhere(
            "programs",
            "53",
            "random workflow programs in Python and Node, which call each other, on workers that"
            " are killed and stopped: result and every prefix of every history as a model has them",
            (
                *(sys.executable, "tests/programs/programs.py"),
                *("--programs", str(_PROGRAMS), "--first", "{seed}"),
            ),
            counts={"kills": r"(\d+) kills", "mismatches": r"(?m)^(\d+) failures$"},
            given={"programs": _PROGRAMS},
            seeds=1_000_000,
        ),
        Elsewhere(
            "payloads",
            "69",
            "a corpus of payloads from each of C, Python and Node to each, through the database:"
            " equal, or refused by path; but -0 becomes 0 in Node, what is too small for a double"
            " (1e-400) 0 in Python and Node, and of two equal keys both keep the last",
            (*_PYTEST, "-s", "tests/abi/test_payloads.py"),
            counts={
                "payloads by pair": r"(\d+) payloads by pair",
                "random doubles in them": r"(\d+) random doubles",
            },
            environment={"PAYLOAD_SEED": "{seed}", "PAYLOAD_DOUBLES": str(_DOUBLES)},
        ),
        Elsewhere(
            "bad_payloads",
            "70",
            "up to five bad payloads among 500 fail alone: requests, signals, results, and what"
            " PostgreSQL refuses",
            (*_PYTEST, "tests/abi/test_limits.py", "-k", "alone or keeps_no_other_back"),
            counts={"kinds of batch": _PASSED},
        ),
        Elsewhere(
            "forks",
            "74",
            "fork before and after the library was loaded, in multiprocessing (as Celery does),"
            " gunicorn and cluster: none of them hangs",
            (
                *(*_PYTEST, "tests/abi/test_fork.py", "tests/abi/test_process.py"),
                *(
                    "adapters/python/tests/test_library.py",
                    "-k",
                    "fork or child or cluster or preloaded",
                ),
            ),
            counts={"ways to fork": _PASSED},
        ),
        Elsewhere(
            "calls",
            "75",
            "calls of the C library in every wrong way, under AddressSanitizer and again under the"
            " race detector",
            (sys.executable, "tests/abi/fuzz_run.py", str(_CALLS), "{seed}", *_FUZZERS),
            counts={
                "calls under AddressSanitizer": _CALLS_OF.format("address"),
                "calls under the race detector": _CALLS_OF.format("race"),
                "crashes": r"(\d+) crash(?:es)?\b",
            },
            needs=_FUZZERS,
        ),
        Elsewhere(
            "roles",
            "81",
            "every statement by every role, and what no statement does: refused but where granted",
            (*_GO, "-run", "Refused|NobodyBut|EachGrant", "./core/store"),
            counts={"allowed": r"(\d+) allowed", "refused": r"(\d+) refused"},
        ),
    )
}


@dataclass
class Played:
    """What came of one."""

    name: str
    row: str
    about: str
    # None if it takes none.
    seed: int | None
    commit: str
    seconds: float
    figures: dict[str, int]
    wrong: str = ""


def play(what: Elsewhere, seed: int, log: Path) -> Played:
    """Run it, with what it prints in a file, and read its figures."""
    seed, began = max(1, seed % what.seeds), time.monotonic()
    if what.needs:
        subprocess.run(["make", "--silent", *what.needs], cwd=ROOT, check=True)
    filled = {name: text.format(seed=seed) for name, text in what.environment.items()}
    with log.open("wb") as file:
        ended = subprocess.run(
            [part.format(seed=seed) for part in what.command],
            cwd=ROOT,
            env={**os.environ, **filled},
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    printed = log.read_text(errors="replace")
    figures = {**what.given, **count(what.counts, printed)}
    wrong = f"it ended with {ended.returncode}; see {log}" if ended.returncode else ""
    if not wrong and what.counts and not any(figures[name] for name in what.counts):
        wrong = f"it has played nothing; see {log}"
    took = round(time.monotonic() - began, 1)
    told = seed if what.is_seeded else None
    return Played(what.name, what.row, what.about, told, _commit(), took, figures, wrong)


def count(patterns: Mapping[str, str], printed: str) -> dict[str, int]:
    """Answer a figure for each pattern."""
    found = {
        name: (re.compile(each).groups, re.findall(each, printed))
        for name, each in patterns.items()
    }
    return {
        name: sum(map(int, each)) if groups else len(each) for name, (groups, each) in found.items()
    }


def _commit() -> str:
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip()


def keep(path: Path, played: Sequence[Played]) -> None:
    """Put these in the place of the last ones of the same names."""
    before: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    found = {each["name"]: each for each in before} | {each.name: asdict(each) for each in played}
    path.write_text(json.dumps([found[name] for name in ELSEWHERE if name in found], indent=1))


def section(found: Sequence[Mapping[str, Any]]) -> str:
    """Answer the section of the page about them."""
    rows = [
        [
            each["name"],
            each["row"],
            each["about"],
            ", ".join(f"{n:,} {name}" for name, n in each["figures"].items()),
            "-" if each["seed"] is None else f"{each['seed']}",
            each["commit"],
            f"{each['seconds']:.0f}",
            "VIOLATED" if each["wrong"] else "ok",
        ]
        for each in found
    ]
    names = ["scenario", "row", "what", "figures", "seed", "commit", "s", "verdict"]
    return f"`make faults SCENARIO=programs SEED=7` plays one of them.\n\n{table(names, rows)}\n"
