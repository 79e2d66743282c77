"""The client of an environment: the real one, on the engine in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from .._client import Client
from .._engine import Engine, refuse_inside_workflows
from .._errors import Closed
from .._operations import Execution, Operation
from .._payload import loads
from .._settings import Duration

if TYPE_CHECKING:
    from ._runner import Runner


class Wire:
    """Carries requests to the engine in memory, for one worker or for whoever is outside.

    It stands where the library's engine and its channels stand.
    """

    def __init__(self, runner: Runner, *, outside: bool) -> None:
        self.outside = outside
        self.is_cut = False
        self._runner = runner

    def channel(self) -> _Channel:
        """Answers what carries the calls of the running loop."""
        refuse_inside_workflows()
        self._runner.attach()
        return _Channel(self, self._runner)

    def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        """Performs an operation, blocking."""
        refuse_inside_workflows()
        if self.is_cut:
            raise Closed("the worker of this code was killed")
        return self._runner.perform(operation, request)

    def close(self, grace: float = 0.0) -> None:
        """Changes nothing: the engine lives as long as its environment."""


class _Channel:
    def __init__(self, wire: Wire, runner: Runner) -> None:
        self._wire = wire
        self._runner = runner

    async def perform(self, operation: Operation, request_json: bytes) -> Any:
        """Performs an operation whose request is JSON already."""
        return await self.call(operation, loads(request_json))

    async def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        """Performs an operation."""
        if not self._runner.is_mine(asyncio.get_running_loop()):
            return self._runner.perform(operation, request)
        await asyncio.sleep(0)
        reply = await self._runner.call(operation, request)
        if self._wire.is_cut:  # it was done, and nobody will ever hear of it
            await asyncio.get_running_loop().create_future()
        return reply

    def send(self, operation: Operation, request_json: bytes) -> asyncio.Future[Any]:
        """Performs an operation whose request is JSON already."""
        return asyncio.get_running_loop().create_task(self.call(operation, loads(request_json)))


class EnvironmentClient(Client):
    """A client of the engine in memory."""

    def __init__(self, runner: Runner, *, outside: bool) -> None:
        super().__init__()
        self.wire = Wire(runner, outside=outside)
        self._runner = runner

    @property
    def engine(self) -> Engine:
        """What stands for the library's engine."""
        return cast(Engine, self.wire)

    def close(self, grace: float = 1.0) -> None:
        """Changes nothing."""

    async def wait(self, id: str | UUID, timeout: Duration | None = None) -> Execution:  # noqa: ASYNC109
        """Waits for the end of an execution; the timeout is in the environment's time."""
        refuse_inside_workflows()
        self._runner.attach()
        return await self._runner.wait(str(id), timeout, outside=self.wire.outside)

    def wait_sync(self, id: str | UUID, timeout: Duration | None = None) -> Execution:
        """Does what `wait` does, blocking."""
        refuse_inside_workflows()
        return self._runner.block(self._runner.wait(str(id), timeout, outside=self.wire.outside))
