"""The workers of a run: processes of both languages, which die and are replaced."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crash_stage import WorkerProcess
from fault_clock import clock_off_by
from fault_journal import Journal, now
from fault_server import ROOT, SCHEMA

HERE = Path(__file__).parent
HEARTBEAT_TIMEOUT = 2.0
POLL = 0.5
# For how long whoever is told to leave may take, before it is killed.
GRACE = 30.0

_QUEUES = {"python": ("default", "python"), "node": ("default", "node")}
_BUNDLE = ROOT / "build" / "faults" / "worker.js"


@dataclass(frozen=True)
class Surroundings:
    """What a worker process is given."""

    run: Path
    # Where the database is; the workers take them in turn.
    urls: Sequence[str]
    concurrency: int = 16
    more: Mapping[str, str] | None = None
    # By how many seconds the clocks of the processes are off; the workers take them in turn.
    clocks: Sequence[int] = ()


class Member:
    """A worker process, and what is known of it."""

    def __init__(self, name: str, language: str, process: WorkerProcess) -> None:
        self.name = name
        self.language = language
        self.process = process
        self.stopped = False
        self.leaving = False
        # Until when it has to be gone, once it was told to leave.
        self.deadline = math.inf

    @property
    def works(self) -> bool:
        """Whether it serves its queues, as far as anybody can tell."""
        ends = self.stopped or self.leaving or self.process.exit_code is not None
        return not ends and " serves " in self.process.output

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send(number)


class Fleet:
    """Keeps so many workers of each language, whatever happens to them."""

    def __init__(self, surroundings: Surroundings, wanted: Mapping[str, int]) -> None:
        self._surroundings = surroundings
        self._wanted = wanted
        self._spawned = 0
        self._over = False
        self.journal = Journal(surroundings.run / "nemesis.jsonl")
        self.members: list[Member] = []
        self.everybody: list[Member] = []
        # The names of those that had to be killed after they were told to leave.
        self.overdue: list[str] = []

    # --- life ---

    def muster(self) -> None:
        """Start all."""
        if "node" in self._wanted:
            compile_worker()
        for language, count in self._wanted.items():
            for _ in range(count):
                self.spawn(language)

    def spawn(self, language: str) -> Member:
        """Start one of those that are replaced when they end."""
        member = self.launch(language)
        self.members.append(member)
        return member

    def launch(self, language: str, more: Mapping[str, str] | None = None) -> Member:
        """Start one that is left to itself, with more in its environment than the others have."""
        self._spawned += 1
        name = f"{language}-{self._spawned}"
        process = WorkerProcess(
            name,
            [*_command(language), *_QUEUES[language]],
            {**self._environment(name), **(more or {})},
            self._surroundings.run / f"{name}.log",
        )
        member = Member(name, language, process)
        self.everybody.append(member)
        return member

    def _environment(self, name: str) -> dict[str, str]:
        given = self._surroundings
        paths = [HERE, ROOT / "tests" / "crash", *os.environ.get("PYTHONPATH", "").split(":")]
        return {
            **os.environ,
            "WORKFLOWS_WORKER_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
            "WORKFLOWS_WORKER_POLL_INTERVAL": str(POLL),
            "WORKFLOWS_WORKER_MAX_CONCURRENT": str(given.concurrency),
            "WORKFLOWS_DATABASE_URL": given.urls[self._spawned % len(given.urls)],
            "WORKFLOWS_SCHEMA": SCHEMA,
            "FAULTS_RUN": str(given.run),
            "FAULTS_WORKER": name,
            "FAULTS_BOOT_OFFSET_NS": str(_boot_offset()),
            "PYTHONPATH": ":".join(str(path) for path in paths if str(path)),
            **(given.more or {}),
            **clock_off_by(given.clocks[self._spawned % len(given.clocks)] if given.clocks else 0),
        }

    def give(self, more: Mapping[str, str]) -> None:
        """Have those that start from now on find something else in their environment."""
        self._surroundings = replace(self._surroundings, more=more)

    def send_to(self, urls: Sequence[str]) -> None:
        """Have all leave, and those that replace them look for the database elsewhere."""
        self._surroundings = replace(self._surroundings, urls=urls)
        for member in list(self.members):
            self.retire(member)

    async def supervise(self) -> None:
        """Replace those that have died, until cancelled."""
        while True:
            for member in list(self.members):
                if member.process.exit_code is not None:
                    if not member.leaving:
                        self.note("died", member, exit=member.process.exit_code)
                    self.replace(member)
                elif time.monotonic() > member.deadline:
                    self._kill(member)
            await asyncio.sleep(0.1)

    def retire(self, member: Member) -> None:
        """Tell one to leave; it is replaced when it has."""
        self.note("term", member)
        member.leaving = True
        member.deadline = time.monotonic() + GRACE
        member.send(signal.SIGTERM)

    def _kill(self, member: Member) -> None:
        """Kill one that has not left, as whoever deploys does."""
        self.note("kill9", member)
        self.overdue.append(member.name)
        member.deadline = math.inf
        member.send(signal.SIGKILL)

    def replace(self, member: Member) -> None:
        """Take a dead one off the list, and start another."""
        self.members.remove(member)
        if not self._over:
            self.spawn(member.language)

    async def dismiss(self, within: float) -> list[str]:
        """Have all drain and end; answer the names of those that had to be killed."""
        self._over = True
        for member in self.members:
            member.send(signal.SIGCONT)
            member.send(signal.SIGTERM)
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and self._alive():  # noqa: ASYNC110  # processes end
            await asyncio.sleep(0.05)
        return self.clear_away()

    def _alive(self) -> list[Member]:
        return [member for member in self.members if member.process.exit_code is None]

    def clear_away(self) -> list[str]:
        """End what still lives, and answer its names."""
        left = self._alive()
        for member in left:
            member.process.clear_away()
        return [member.name for member in left]

    # --- faults ---

    def note(self, kind: str, member: Member | None = None, **more: object) -> None:
        target = member and {"name": member.name, "lang": member.language}
        self.journal.note("fault", kind=kind, target=target, at=now(), **more)


def _boot_offset() -> int:
    """Answer how far CLOCK_BOOTTIME is ahead of the monotonic clock, in nanoseconds.

    Nobody reads both at once. On a busy machine much time may pass between the two, so this
    takes the closest of some pairs: what bodies journal is put in order by it.
    """
    pairs: list[tuple[int, int]] = []
    for _ in range(20):
        before = time.monotonic_ns()
        boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        after = time.monotonic_ns()
        pairs.append((after - before, boot - (before + after) // 2))
    return min(pairs)[1]


def _command(language: str) -> list[str]:
    if language == "python":
        return [sys.executable, str(HERE / "worker.py")]
    return ["node", str(_BUNDLE)]


def compile_worker() -> None:
    """Strip the types once, so that a replacement starts as quickly as any program."""
    subprocess.run(
        [
            str(ROOT / "node_modules" / ".bin" / "esbuild"),
            str(HERE / "worker.ts"),
            *("--format=cjs", "--platform=node", "--log-level=error", f"--outfile={_BUNDLE}"),
        ],
        check=True,
    )
