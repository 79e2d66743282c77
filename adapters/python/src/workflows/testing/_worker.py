"""The worker of an environment: the real one, with bodies that are recorded, and mortal."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from .._attempts import Attempt, Bodies
from .._client import Client
from .._executions import HeldAttempt, HeldWorkflow
from .._worker import Worker
from ._bodies import Body
from ._calls import CallLog
from ._client import EnvironmentClient
from ._doubles import Doubles, RecordedBodies
from ._threads import Threads


class EnvironmentWorker(Worker):
    """A worker on the engine in memory."""

    bodies: Bodies
    _full_pause = None  # or time would be skipped by seconds

    def __init__(
        self,
        client: EnvironmentClient,
        threads: Threads,
        doubles: Doubles,
        calls: CallLog,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._environment_client = client
        self._threads = threads
        self._doubles = doubles
        self._calls = calls
        self._recorded: RecordedBodies | None = None

    def _connect(self) -> Client:
        return self._environment_client

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.bodies = self._recorded = RecordedBodies(
            self._threads, self._wake, self._doubles, self._calls, self._called
        )
        return self

    def still_lacking(self) -> list[dict[str, str]]:
        """Answers nothing: there is no other worker, and what stands in may come at any time."""
        return []

    def _called(self, attempt: Attempt) -> object:
        """Answers what tells the call of an attempt from others: the same after a crash."""
        claimed = attempt.claimed
        held = self._held.get(claimed["id"])
        if isinstance(held, HeldWorkflow):
            for sequence, (_, step) in held.steps.items():
                if step is attempt:
                    return claimed["id"], claimed["run"], sequence
        return claimed["id"], claimed["run"]

    @property
    def is_busy(self) -> bool:
        """Whether bodies run."""
        return self._recorded is not None and bool(self._recorded.running)

    @property
    def open_bodies(self) -> set[Body]:
        """The bodies on the loop that may wait for something from outside."""
        bodies = set[Body]() if self._recorded is None else self._recorded.running
        return {body for body in bodies if body.may_hear_from_outside}

    @property
    def failure(self) -> BaseException | None:
        """What keeps the worker from going on."""
        return self._failure

    async def gone(self) -> None:
        """Waits until nothing of a killed worker is left."""
        await asyncio.gather(*self._tasks, *self._beats, return_exceptions=True)

    def kill(self) -> None:
        """Ends the worker as kill -9 would: it neither writes nor runs anything any more."""
        self._environment_client.wire.is_cut = True
        if self._recorded is not None:
            self._recorded.kill()
            self.outbox.close()
            self._stopping.set()
        for task in (*self._tasks, *self._beats):
            task.cancel()
        for held in list(self._held.values()):
            held.lost = True
            if isinstance(held, HeldAttempt):
                held.attempt.stop("lost")
        self.forget()
