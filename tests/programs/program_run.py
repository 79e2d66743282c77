"""Runs programs on workers that die, and checks what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crash_stage import BINARIES, Stage, WorkerProcess
from program_checks import FINAL, problems
from program_evidence import Entry, Run, Tree, describe
from program_functions import program as interpreter
from program_generator import Dice, Node, Program, nodes
from program_languages import LANGUAGES
from program_nemesis import Nemesis
from program_processes import Replayers, worker_command
from workflows import ExecutionFinished, ResultTimeout

_TROUBLE = (
    *("failed inside the adapter", "panicked", "Segmentation", "fatal error", "a callback of"),
    "Node.js v",  # what Node says last when an error ends it
)


@dataclass(frozen=True)
class Plan:
    """How programs are run."""

    seed: int = 1
    # Of each language.
    workers: int = 2
    concurrency: int = 8
    in_flight: int = 25
    # Seconds that a program and all that came of it may take.
    deadline: float = 240.0
    kills: bool = True


@dataclass
class Report:
    """What became of some programs."""

    trees: list[Tree] = field(default_factory=list[Tree])
    failed: list[tuple[Program, list[str], str]] = field(
        default_factory=list[tuple[Program, list[str], str]]
    )
    kills: int = 0
    stops: int = 0


class Slice:
    """Some programs on one stage: their workers, and what happens to them."""

    def __init__(self, stage: Stage, plan: Plan, replayers: Replayers) -> None:
        self._stage = stage
        self._plan = plan
        self._replayers = replayers
        self._spawned = Counter[str]()
        self._nemesis = Nemesis(stage, plan.seed, self._spawn)
        self._sending: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._trees: dict[str, Tree] = {}
        self.report = Report()

    def _spawn(self, language: str) -> WorkerProcess:
        """Start a worker; every other one replays each workflow from the start."""
        self._spawned[language] += 1
        number = self._spawned[language]
        warm = "0" if number % 2 else "2000"
        return self._stage.launch(
            f"{language} {number}",
            [*worker_command(language), warm, str(self._plan.concurrency)],
        )

    async def run(self, programs: Sequence[Program]) -> Report:
        """Run all of them, and check each."""
        for language in LANGUAGES * self._plan.workers:
            self._nemesis.start(language)
        limit = asyncio.Semaphore(self._plan.in_flight)
        async with self._beside():
            await asyncio.gather(*(self._play(each, limit) for each in programs))
        await self._check()
        self.report.trees = list(self._trees.values())
        self.report.kills, self.report.stops = self._nemesis.kills, len(self._nemesis.stopped)
        return self.report

    @contextlib.asynccontextmanager
    async def _beside(self) -> AsyncGenerator[None]:
        """What goes on while programs run."""
        tasks = [asyncio.create_task(self._listen())]
        if self._plan.kills:
            tasks.append(asyncio.create_task(self._nemesis.haunt()))
        try:
            yield
        finally:
            for task in [*tasks, *self._sending.values()]:
                task.cancel()
            ended = await asyncio.gather(*tasks, *self._sending.values(), return_exceptions=True)
        for each in ended:
            if isinstance(each, Exception):
                raise each

    # --- a program's life ---

    async def _play(self, program: Program, limit: asyncio.Semaphore) -> None:
        """Run one program to its end, and that of all that came of it."""
        client = self._stage.client
        async with limit:
            function = interpreter.options(queue=program.language)
            [created] = await client.create([function.execution((program.root,), {})])
            root = created["id"]
            tree = self._trees[root] = Tree(program, root)
            deadline = time.monotonic() + self._plan.deadline
            for node in nodes(program.root, children=False):
                if node["do"] == "signal" and node["by"] == "early":
                    await self._send(root, node["n"], node["count"], Dice(node["n"]))
            if program.cancel_ms is not None:
                await asyncio.sleep(program.cancel_ms / 1000)
                await client.cancel(root)
            with contextlib.suppress(ResultTimeout):  # what is still open is the problem
                await client.wait(root, self._plan.deadline)
            while await self._open(tree) and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.3)

    async def _open(self, tree: Tree) -> bool:
        await self._look(tree)
        return any(row["status"] not in FINAL for row in tree.rows.values())

    async def _look(self, tree: Tree) -> None:
        """Read the executions that came of a program."""
        client = self._stage.client
        ahead = [tree.root]
        while ahead:
            row = await client.get(ahead.pop())
            tree.rows[row["id"]] = row
            if row["kind"] == "workflow":
                page = await client.list(parent_id=row["id"], limit=1000)
                ahead += [child["id"] for child in page["executions"]]

    # --- signals ---

    async def _listen(self) -> None:
        """Send what workflows wait for, as soon as they say so, or a little later."""
        heard = 0
        while True:
            entries = self._stage.entries()
            for entry in entries[heard:]:
                key = entry["event"], f"{entry.get('id')} {entry['what']}"
                if entry["event"] == "waits" and key not in self._sending:
                    n, count = int(entry["what"]), entry["count"]
                    sending = self._send(entry["id"], n, count, Dice(self._plan.seed * 1000 + n))
                    self._sending[key] = asyncio.create_task(sending)
            heard = len(entries)
            await asyncio.sleep(0.02)

    async def _send(self, id: str, n: int, count: int, dice: Dice) -> None:
        with contextlib.suppress(ExecutionFinished):
            for index in range(count):
                await asyncio.sleep(dice.pick((0, 0, 10, 50, 200)) / 1000)
                for _ in range(1 + dice.chance(20)):  # sent twice, delivered once
                    payload = f"{n}.{index}"
                    await self._stage.client.signal(id, f"signal {n}", payload, key=payload)

    # --- the end ---

    async def _check(self) -> None:
        """Gather the evidence, end the workers, and check program after program."""
        left = await self._timers_left()
        self._stage.clear_away()
        bodies = self._bodies()
        zombies = self._nemesis.stopped | {
            worker.name for worker in self._stage.workers if "was lost" in worker.output
        }
        for tree in sorted(self._trees.values(), key=lambda tree: tree.program.seed):
            await self._replay(tree)
            tree.bodies = {id: bodies[id] for id in tree.rows if id in bodies}
            tree.zombies = zombies
            found = problems(tree)
            found += [f"timer {line} is left" for line in left if line.split("|")[0] in tree.rows]
            if found:
                self.report.failed.append((tree.program, found, describe(tree)))
        self._check_logs()

    def _bodies(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for entry in self._stage.entries():
            if "id" in entry and entry["event"] != "waits":
                found.setdefault(entry["id"], []).append(entry)
        return found

    async def _replay(self, tree: Tree) -> None:
        for row in tree.workflows():
            for number, node in enumerate(tree.nodes(row), 1):
                events = await self._stage.client.history(row["id"], run=number)
                run = Run(row, number, node, events)
                replayers = self._replayers[run.language]
                run.replays = await asyncio.gather(*(each.check(run) for each in replayers))
                tree.runs.append(run)

    async def _timers_left(self) -> list[str]:
        """What stands in the table of timers when all has ended; nothing, given a moment."""
        deadline = time.monotonic() + 30
        query = f"SELECT execution_id, kind, sequence FROM {self._stage.schema}.timers"
        while True:
            left = await select(self._stage.url, query)
            if not left or time.monotonic() > deadline:
                return left
            await asyncio.sleep(0.3)

    def _check_logs(self) -> None:
        for worker in self._stage.workers:
            for trouble in _TROUBLE:
                if trouble in worker.output:
                    nobody = Program(0, Node())
                    self.report.failed.append((nobody, [f"{trouble!r} in a log"], worker.output))


async def select(url: str, query: str) -> list[str]:
    """Answer the rows of a query, a line each."""
    process = await asyncio.create_subprocess_exec(
        str(Path(BINARIES[0], "psql")) if BINARIES else "psql",
        *("--no-psqlrc", "--no-align", "--tuples-only", "--command", query, _target(url)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, "psql failed"
    return output.decode().splitlines()


def _target(url: str) -> str:
    """Answer where psql finds a database."""
    if not url.startswith("embedded:"):
        return url
    pid_file = Path(url.removeprefix("embedded:"), "data", "postmaster.pid")
    directory = pid_file.read_text().splitlines()[4]
    return f"host={directory} user=workflows dbname=workflows"
