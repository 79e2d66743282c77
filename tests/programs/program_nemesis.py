"""Kills and stops workers at moments that follow from a seed, and starts new ones."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections import Counter
from collections.abc import Callable

from crash_stage import HEARTBEAT_TIMEOUT, Stage, WorkerProcess
from program_generator import Dice

_SERVES = re.compile(r"worker (\S+) serves ")


class Nemesis:
    """What happens to the workers of a stage.

    Three crashes in a row fail an execution, by design: whoever holds one that
    has had two is left alone. And so is the last one of each language that works, so
    that a busy machine, where a new worker takes its time, gets somewhere as well.
    """

    def __init__(self, stage: Stage, seed: int, spawn: Callable[[str], WorkerProcess]) -> None:
        self._stage = stage
        self._dice = Dice(seed)
        self._spawn = spawn
        self.alive: list[WorkerProcess] = []
        self._languages: dict[str, str] = {}
        self.kills = 0
        # Names of those that were stopped for so long that their leases may be lost.
        self.stopped: set[str] = set()
        self._stops: dict[str, asyncio.Task[None]] = {}

    def start(self, language: str) -> None:
        """Start a worker, which is replaced by one of its language when it dies."""
        worker = self._spawn(language)
        self._languages[worker.name] = language
        self.alive.append(worker)

    async def haunt(self) -> None:
        """Go on until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._dice.between(100, 900) / 1000)
                if victims := self.victims():
                    await self._strike(self._dice.pick(victims))
        finally:
            for stop in self._stops.values():
                stop.cancel()
            for worker in self.alive:
                self._send(worker, signal.SIGCONT)

    def victims(self) -> list[WorkerProcess]:
        """Those that work, of the languages of which several do."""
        working = [worker for worker in self.alive if self._works(worker)]
        left = Counter(self._languages[worker.name] for worker in working)
        return [worker for worker in working if left[self._languages[worker.name]] > 1]

    def _works(self, worker: WorkerProcess) -> bool:
        return worker.name not in self._stops and " serves " in worker.output

    async def _strike(self, worker: WorkerProcess) -> None:
        kill, pause = self._dice.chance(50), self._dice.between(100, 2500) / 1000
        self._send(worker, signal.SIGSTOP)  # it can claim no more while we look
        if await self._holds_a_suspect(worker):
            self._send(worker, signal.SIGCONT)
        elif kill:
            worker.kill()
            self.kills += 1
            self.alive.remove(worker)
            self.start(self._languages[worker.name])
        else:
            self._stops[worker.name] = asyncio.create_task(self._stop(worker, pause))

    async def _stop(self, worker: WorkerProcess, pause: float) -> None:
        if pause > HEARTBEAT_TIMEOUT / 2:
            self.stopped.add(worker.name)
        try:
            await asyncio.sleep(pause)
        finally:
            self._stops.pop(worker.name, None)
            self._send(worker, signal.SIGCONT)

    async def _holds_a_suspect(self, worker: WorkerProcess) -> bool:
        """Whether it may: who was declared dead has an id of which no log tells."""
        others = {
            id for each in self.alive if each is not worker for id in _SERVES.findall(each.output)
        }
        page = await self._stage.client.list(status=["running"], limit=1000)
        return any(
            row["crashes"] >= 2 and row.get("worker") not in others for row in page["executions"]
        )

    def _send(self, worker: WorkerProcess, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            worker.send(number)
