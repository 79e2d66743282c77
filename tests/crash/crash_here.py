"""Workers in the test's own process, and replays of what they left in the database."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from crash_stage import PATIENCE, POLL, Stage
from workflows import Function, Handle, Worker
from workflows._calls import Turn
from workflows._operations import Event, Execution
from workflows._registry import Registry
from workflows._replay import Replay

P = ParamSpec("P")
R = TypeVar("R")

HEARTBEAT = 0.2

_FINAL = ("completed", "failed", "cancelled")
_COMMANDS = {
    "activity_scheduled": "schedule",
    "child_started": "schedule",
    "timer_started": "start_timer",
    "version_marked": "mark_version",
    "state_set": "set_state",
}
# Of a long history only so many prefixes are tried, and of a very long one fewer.
_MOST_PREFIXES = 40
_MOST_EVENTS = 20_000


class Here:
    """A stage whose workers run in this process what the test defines."""

    def __init__(self, stage: Stage, functions: Registry) -> None:
        self.stage = stage
        self.functions = functions
        # A test whose code changes on purpose cannot be replayed in the end.
        self.replays = True
        self._workers: dict[Worker, AsyncExitStack] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in list(self._workers):
            await self.dismiss(worker)

    # --- workers ---

    async def work(self, *queues: str, **options: Any) -> Worker:
        """Start a worker that beats often, and is not taken for dead on a busy machine."""
        times = {
            "heartbeat_interval": HEARTBEAT,
            "heartbeat_timeout": 20,
            "poll_interval": POLL,
            "drain_timeout": 0,
        }
        stack = AsyncExitStack()
        worker = await stack.enter_async_context(
            self.stage.serving(self.functions, *queues, **{**times, **options})
        )
        self._workers[worker] = stack
        return worker

    async def dismiss(self, worker: Worker) -> None:
        """Stop a worker; what it still runs after its drain time it puts back."""
        await self._workers.pop(worker).aclose()

    # --- executions ---

    async def queue(self, function: Function[P, R], *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        return await self.stage.queue(function, *args, **kwargs)

    async def result(self, function: Function[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Queue a function, and wait for its result."""
        return await (await self.queue(function, *args, **kwargs)).result(PATIENCE)

    async def suspended(
        self, function: Function[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Handle[R]:
        """Queue a workflow, and wait until it waits."""
        handle = await self.queue(function, *args, **kwargs)
        await self.stage.is_in(handle, "suspended")
        return handle

    async def children(self, handle: Handle[Any]) -> list[Execution]:
        """Answer what an execution has started, in that order."""
        page = await self.stage.client.list(parent_id=handle.id, limit=1000)
        return sorted(page["executions"], key=lambda child: child.get("sequence", 0))

    def handle(self, execution: Execution) -> Handle[Any]:
        return Handle(execution["id"], client=self.stage.client)

    async def recorded(self, handle: Handle[Any], type: str, count: int = 1) -> None:
        """Wait until a workflow's history has so many events of a type."""

        async def found() -> int:
            return (await self.stage.types(handle)).count(type)

        await self.stage.becomes(found, count)

    async def ended(self, handle: Handle[Any], count: int = 1) -> None:
        """Wait until a workflow was told of so many ends of what it started."""

        async def found() -> int:
            types = await self.stage.types(handle)
            return sum(each.startswith(("activity_", "child_")) for each in types) - sum(
                each in ("activity_scheduled", "child_started") for each in types
            )

        await self.stage.becomes(found, count)

    # --- replays ---

    async def check_replays(self) -> None:
        """Replay every workflow that has ended, from each prefix of its history."""
        if not self.replays:
            return
        page = await self.stage.client.list(kind="workflow", status=_FINAL, limit=1000)
        for execution in page["executions"]:
            events = await self.stage.client.history(execution["id"])
            function = self.functions.find("workflow", execution["name"])
            if function is not None and any(each["type"] == "started" for each in events):
                await _alone(partial(check_replay, execution, function, events))


async def _alone(what: Any) -> None:
    """Run what runs the code of workflows where no task is current, as a worker does."""
    done = asyncio.get_running_loop().create_future()

    def run() -> None:
        try:
            done.set_result(what())
        except BaseException as error:
            done.set_exception(error)

    asyncio.get_running_loop().call_soon(run, context=contextvars.Context())
    await done


def check_replay(
    execution: Execution, function: Function[..., Any], events: Sequence[Event]
) -> None:
    """Each prefix fits the code and asks for nothing that it has; all of it ends alike."""
    prefixes = min(_MOST_PREFIXES, 1 + _MOST_EVENTS // (1 + len(events)))
    step = max(1, len(events) // prefixes)
    for length in [*range(1, len(events), step), len(events)]:
        turn = replayed(execution, function, events[:length])
        assert turn.then != "park", turn.message
        asked = {(each["sequence"], each["type"]) for each in turn.commands}
        asked = {each for each in asked if each[1] != "cancel"}
        assert not asked & _recorded(events[:length])
        if length == len(events):
            _ends_alike(execution, turn, asked)


def replayed(execution: Execution, function: Function[..., Any], events: Sequence[Event]) -> Turn:
    """Answer what the code asks for after these events, in a process that knows only them."""
    replay = Replay(execution, function)
    try:
        replay.feed(events)
        return replay.turn()
    finally:
        replay.discard()


def _recorded(events: Sequence[Event]) -> set[tuple[int, str]]:
    return {
        (each.get("sequence", 0), _COMMANDS[each["type"]])
        for each in events
        if each["type"] in _COMMANDS
    }


def _ends_alike(execution: Execution, turn: Turn, asked: set[tuple[int, str]]) -> None:
    status, error = execution["status"], cast("dict[str, Any]", execution.get("error") or {})
    if status == "completed":
        assert turn.then == "complete"
        assert json.loads(json.dumps(turn.result)) == execution.get("result")
        assert not asked, "it asks for something anew"
    elif status == "failed" and error.get("language") != "core":
        assert turn.then == "fail"
        assert (turn.error or {})["type"] == error["type"]
        assert (turn.error or {})["message"] == error["message"]
