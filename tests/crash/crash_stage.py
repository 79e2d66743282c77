"""The stage of one test: a schema, workers, and a journal outside the database."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from unittest import mock

import crash_journal
import workflows._functions as decorators
import workflows._worker as workers
from workflows import Client, Function, Handle, Worker
from workflows._operations import Execution
from workflows._registry import Registry

P = ParamSpec("P")
R = TypeVar("R")
Entry = dict[str, Any]

HERE = Path(__file__).parent

# Where the tests of this session are to find a PostgreSQL; nothing means where users find it.
BINARIES = [path for path in [os.environ.get("WORKFLOWS_TEST_POSTGRES_BIN")] if path]

_PATHS = [path for path in [os.environ.get("PYTHONPATH")] if path]

HEARTBEAT_TIMEOUT = 1.0
POLL = 0.5
# For starting, scheduling and writing on a machine that is busy with other tests.
MARGIN = 1.0
PATIENCE = 30.0

TIMES = {
    "WORKFLOWS_WORKER_HEARTBEAT_INTERVAL": "0.2",
    "WORKFLOWS_WORKER_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
    "WORKFLOWS_WORKER_POLL_INTERVAL": str(POLL),
}


class WorkerProcess:
    """A worker in a process of its own."""

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        log: Path,
        directory: Path = HERE,
    ):
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def exit_code(self) -> int | None:
        return self.process.poll()

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> float:
        """End it as `kill -9` does, and answer when."""
        self.send(signal.SIGKILL)
        at = time.monotonic()
        self.process.wait()
        return at

    def clear_away(self) -> None:
        if self.exit_code is None:
            self.kill()


@contextmanager
def code() -> Generator[Registry]:
    """Decorate functions into a registry of their own, as another release of the code would."""
    functions = Registry()
    with mock.patch.object(decorators, "registry", functions):
        yield functions


class _Raised(logging.Handler):
    """Keeps what a worker in this process logged with a traceback as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.told.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


class Stage:
    """What a test needs."""

    def __init__(self, url: str, schema: str, directory: Path, client: Client):
        self.url = url
        self.schema = schema
        self.directory = directory
        self.client = client
        self.workers: list[WorkerProcess] = []
        self._journal = crash_journal.Reader(directory)
        self._engines = 0

    # --- workers ---

    def spawn(
        self,
        name: str,
        *queues: str,
        concurrency: int | None = None,
        warm: int | None = None,
        environment: Mapping[str, str] = {},
    ) -> WorkerProcess:
        """Start a worker of these queues, by the command line unless `warm` is given."""
        queues = queues or ("default",)
        if warm is not None:
            return self.run(
                name, str(HERE / "crash_worker.py"), str(warm), *queues, environment=environment
            )
        command = ["-m", "workflows", "worker", "-m", "crash_functions"]
        command += [word for queue in queues for word in ("-q", queue)]
        if concurrency is not None:
            command += ["--concurrency", str(concurrency)]
        return self.run(name, *command, environment=environment)

    def run(self, name: str, *command: str, environment: Mapping[str, str] = {}) -> WorkerProcess:
        """Start Python with the surroundings of a worker."""
        return self.launch(name, [sys.executable, *command], environment)

    def launch(
        self, name: str, command: list[str], environment: Mapping[str, str] = {}
    ) -> WorkerProcess:
        """Start any program with them."""
        worker = WorkerProcess(
            name,
            command,
            {
                **os.environ,
                **TIMES,
                "WORKFLOWS_DATABASE_URL": self.url,
                "WORKFLOWS_SCHEMA": self.schema,
                "PYTHONPATH": os.pathsep.join([str(HERE), *_PATHS]),
                "PYTHONUNBUFFERED": "1",
                "CRASH_STAGE": str(self.directory),
                "CRASH_WORKER": name,
                **environment,
            },
            self.directory / f"{len(self.workers)} {name}.log",
        )
        self.workers.append(worker)
        return worker

    async def start(self, name: str, *queues: str, **options: Any) -> WorkerProcess:
        """Start a worker, and wait until it is registered."""
        worker = self.spawn(name, *queues, **options)
        await self.serves(worker)
        return worker

    async def serves(self, worker: WorkerProcess) -> None:
        """Wait until a worker is registered."""

        def says() -> bool:
            assert worker.exit_code is None, worker.output
            return " serves " in worker.output

        await self.until(says, f"worker {worker.name} to serve")

    async def exits(self, worker: WorkerProcess, within: float = PATIENCE) -> int:
        """Wait for the end of a worker, and answer its exit code."""
        await self.until(
            lambda: worker.exit_code is not None, f"worker {worker.name} to end", within
        )
        assert worker.exit_code is not None
        return worker.exit_code

    @asynccontextmanager
    async def serving(
        self, functions: Registry, *queues: str, **options: Any
    ) -> AsyncGenerator[Worker]:
        """Run a worker in this process, on an engine of its own.

        So that two of them share nothing but the database, as in two processes.
        """
        self._engines += 1
        options = {"poll_interval": POLL, "drain_timeout": 1, **options}
        raised = _Raised()
        async with Client(self.url, schema=self.schema, pool_size=3 + self._engines) as own:
            worker = Worker(queues or ("default",), functions=functions, **options)
            with mock.patch.object(workers, "client", return_value=own):
                await worker.__aenter__()
            workers.log.addHandler(raised)
            try:
                yield worker
            finally:
                await worker.__aexit__(None, None, None)
                workers.log.removeHandler(raised)
        assert not raised.told

    # --- executions ---

    async def queue(self, function: Function[P, R], *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Do what `function.queue` does, in this test's schema."""
        [created] = await self.client.create([function.execution(args, kwargs)])
        return Handle(created["id"], client=self.client, result_type=function.result_type)

    async def get(self, handle: Handle[Any]) -> Execution:
        return await self.client.get(handle.id)

    async def types(self, handle: Handle[Any]) -> list[str]:
        return [event["type"] for event in await self.client.history(handle.id)]

    async def is_in(self, handle: Handle[Any], status: str) -> None:
        """Wait until an execution is in a state."""
        await self.becomes(handle.status, status)

    # --- the journal ---

    def open(self, gate: str) -> None:
        crash_journal.open_gate(self.directory, gate)

    def entries(self, event: str | None = None, what: str | None = None) -> list[Entry]:
        """Answer what was noted, all or of one kind."""
        return [
            entry
            for entry in self._journal.entries()
            if event in (None, entry["event"]) and what in (None, entry["what"])
        ]

    def count(self, event: str, what: str | None = None) -> int:
        return len(self.entries(event, what))

    async def saw(
        self, event: str, what: str, *, by: str | None = None, within: float = PATIENCE
    ) -> Entry:
        """Wait for an entry, by one worker or by any, and answer it."""
        found: list[Entry] = []

        def seen() -> bool:
            found[:] = [e for e in self.entries(event, what) if by in (None, e["worker"])]
            return bool(found)

        await self.until(seen, f"{event} {what} by {by or 'anybody'}", within)
        return found[0]

    # --- waiting ---

    async def until(
        self, condition: Callable[[], bool], what: str, within: float = PATIENCE
    ) -> None:
        """Poll for a condition; a deadline that passes tells all that is known."""
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}\n{self.describe()}"
            await asyncio.sleep(0.01)

    async def becomes(
        self, ask: Callable[[], Awaitable[object]], wanted: object, within: float = PATIENCE
    ) -> None:
        """Poll the database the same way."""
        deadline = time.monotonic() + within
        while (found := await ask()) != wanted:
            assert time.monotonic() < deadline, f"{found}, not {wanted}\n{self.describe()}"
            await asyncio.sleep(0.01)

    def describe(self) -> str:
        journal = "\n".join(str(entry) for entry in self.entries()[-50:])
        logs = "\n".join(
            f"--- worker {each.name} ({each.exit_code}):\n{each.output[-4000:]}"
            for each in self.workers
        )
        return f"--- journal:\n{journal}\n{logs}"

    # --- the end ---

    def clear_away(self) -> None:
        for worker in self.workers:
            worker.clear_away()

    def check_logs(self) -> None:
        """Nothing that a test does may raise inside the adapter or panic in the engine."""
        for worker in self.workers:
            for bad in ("Traceback", "panicked", "Segmentation", "fatal error"):
                assert bad not in worker.output, worker.output


def times(entries: Sequence[Entry]) -> list[float]:
    return [entry["at"] for entry in entries]
