"""One database, one worker in Python and one in Node, and all scenarios at once."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, Self

from crash_stage import WorkerProcess
from scenario_drive import Drive
from scenario_files import HERE, read
from workflows import Client
from workflows import _operations as operations

Json = dict[str, Any]
Pair = tuple[str, str]

ROOT = HERE.parent.parent
NODE = ROOT / "adapters" / "node"

_STARTING = 30.0
# So many scenarios at a time keep two cores busy; more would only wait for each other.
_AT_ONCE = 48
_SETTINGS = {
    "WORKFLOWS_WORKER_HEARTBEAT_INTERVAL": "0.2",
    "WORKFLOWS_WORKER_HEARTBEAT_TIMEOUT": "20",
    "WORKFLOWS_WORKER_POLL_INTERVAL": "0.5",
    "WORKFLOWS_WORKER_DRAIN_TIMEOUT": "1",
    "PYTHONUNBUFFERED": "1",
}
_PYTHON = [sys.executable, "-m", "workflows"]
_NODE = ["node", "--import", "tsx", str(NODE / "dist" / "_cli.js")]
_MODULES = {"python": "scenario_all", "node": "./scenario_all.ts"}
_QUEUES = {"python": ("python", "python-node"), "node": ("node", "node-python")}


class Session:
    """Drives scenarios in a thread of its own; tests ask for the outcomes."""

    def __init__(self, url: str, directory: Path, pairs: Sequence[Pair]) -> None:
        self.url = url
        self.schema = f"scenarios_{uuid.uuid4().hex[:16]}"
        self.directory = directory
        self.workers: list[WorkerProcess] = []
        self._outcomes: dict[Pair, Future[Json]] = {pair: Future() for pair in pairs}
        self._histories: dict[Pair, list[Path]] = {}
        self._thread = threading.Thread(target=self._main, name="scenarios")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join()
        for worker in self.workers:
            worker.clear_away()
        asyncio.run(self._drop())

    def outcome(self, name: str, way: str) -> Json:
        """Answers the outcome of a scenario in one way, as soon as it is there."""
        return self._outcomes[name, way].result()

    def histories(self, name: str, way: str) -> list[Path]:
        """Answers files with what `workflows history ID --json` prints: of it, and of children."""
        self.outcome(name, way)
        return self._histories[name, way]

    def all_histories(self) -> list[Path]:
        """Answers those of all scenarios, once they are over."""
        wait(self._outcomes.values())
        return [path for paths in self._histories.values() for path in paths]

    def check_logs(self) -> None:
        """Nothing that a scenario does may raise inside an adapter or panic in the engine."""
        for worker in self.workers:
            for bad in ("Traceback", "panicked", "Segmentation", "fatal error", "Unhandled"):
                assert bad not in worker.output, worker.output

    # --- commands of the adapters ---

    def command(self, language: str, verb: str, *arguments: str) -> list[str]:
        """Answers a command line with all scenarios' code in this language."""
        program = _PYTHON if language == "python" else _NODE
        return [*program, verb, "-m", _MODULES[language], *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Answers what the processes of this session need to know."""
        path = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **os.environ,
            **_SETTINGS,
            "WORKFLOWS_DATABASE_URL": self.url,
            "WORKFLOWS_SCHEMA": self.schema,
            "PYTHONPATH": os.pathsep.join(path),
            "SCENARIO_NOTES": str(self.directory),
        }

    def _work(self, language: str) -> WorkerProcess:
        queues = [word for queue in _QUEUES[language] for word in ("-q", queue)]
        worker = WorkerProcess(
            language,
            self.command(language, "worker", "--concurrency", "200", *queues),
            self.environment,
            self.directory / f"{language}.log",
            HERE,
        )
        self.workers.append(worker)
        return worker

    # --- the thread ---

    def _main(self) -> None:
        try:
            asyncio.run(self._drive())
        except BaseException as error:
            for outcome in self._outcomes.values():
                if not outcome.done():
                    outcome.set_exception(error)

    async def _drive(self) -> None:
        async with Client(self.url, schema=self.schema, pool_size=4) as client:
            await client.migrate()
            languages = {word for _, way in self._outcomes for word in way.split("-")}
            workers = [self._work(language) for language in sorted(languages)]
            await asyncio.gather(*map(_serves, workers))
            permits = asyncio.Semaphore(_AT_ONCE)
            await asyncio.gather(*(self._one(client, permits, *pair) for pair in self._outcomes))

    async def _one(self, client: Client, permits: asyncio.Semaphore, name: str, way: str) -> None:
        outcome = self._outcomes[name, way]
        async with permits:
            try:
                given = read(name).given
                drive = Drive(client, self.directory, name, way)
                found = await drive.run(given.get("start", {}), given.get("do", []))
                self._keep(name, way, await drive.exported())
                outcome.set_result(found)
            except Exception as error:
                outcome.set_exception(error)

    def _keep(self, name: str, way: str, histories: Sequence[Json]) -> None:
        for number, history in enumerate(histories):
            path = self.directory / f"{name} {way} {number}.json"
            path.write_text(json.dumps(history))
            self._histories.setdefault((name, way), []).append(path)

    async def _drop(self) -> None:
        async with Client(self.url, schema=self.schema, pool_size=2) as client:
            down: Any = {"direction": "down", "confirm": self.schema}
            await operations.migrate(client.engine.channel(), down)


async def _serves(worker: WorkerProcess) -> None:
    """Waits until a worker is registered."""
    deadline = time.monotonic() + _STARTING
    while " serves " not in worker.output:
        if worker.exit_code is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the worker in {worker.name} does not serve\n{worker.output}")
        await asyncio.sleep(0.02)
