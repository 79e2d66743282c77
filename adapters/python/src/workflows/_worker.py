"""The worker: claims executions, runs their code, and writes what became of them."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import logging
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from ._attempts import Bodies, base_context
from ._client import Client, client
from ._errors import Internal, WorkerNotFound, WorkflowsError
from ._executions import Held, HeldAttempt, HeldWorkflow
from ._history import MAX_HISTORY
from ._operations import Operation
from ._outbox import Outbox
from ._registry import Registry, registry
from ._settings import Duration, Settings, milliseconds, seconds
from ._version import version
from ._warm import Warm

log = logging.getLogger("workflows")

_CLAIM_WAIT_MS = 10_000
_MAX_CLAIM = 1000
_MAX_LACKING = 1000
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_PROGRESS_PAUSE = 0.05
_WARM = 2000
_HISTORY_PAGE = 10_000
_NAMED = 10  # how many of a kind the first line in the log names


class Worker:
    """Runs jobs, activities and workflows of some queues, on one event loop.

    Async bodies run on the loop, sync ones in threads. An execution that a
    dying worker held is run again elsewhere, so bodies run *at least* once.

    Args:
        queues: whose executions it runs. Default ["default"].
        concurrency: how many it holds at a time. Default `WORKFLOWS_WORKER_MAX_CONCURRENT`, then
            10. Workflows may be as many again while bodies hold all slots for more than a second:
            who cancels a body, or limits its time, is not kept waiting by it.
        warm: how many suspended workflows stay in memory; 0 replays each from the start. Default
            `WORKFLOWS_WORKER_WARM`, then 2000.
        url: of the database. Default that of `workflows.client()`.
        schema: default `WORKFLOWS_SCHEMA`, then "workflows".
        functions: what it can run. Default everything that was decorated.
        name: for whoever reads a list of workers. Default host and process.
        heartbeat_interval, heartbeat_timeout, poll_interval: default `WORKFLOWS_WORKER_...`,
            then the library's.
        drain_timeout: how long a stop waits for what runs, before the rest is put back.

    Example:
        >>> asyncio.run(Worker(["orders"], concurrency=20).run())
    """

    # For how long no slot may be free before it looks for workflows alone.
    _full_pause: float | None = 1.0

    def __init__(
        self,
        queues: Sequence[str] = ("default",),
        *,
        concurrency: int | None = None,
        warm: int | None = None,
        url: str | None = None,
        schema: str | None = None,
        functions: Registry | None = None,
        name: str | None = None,
        heartbeat_interval: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        poll_interval: Duration | None = None,
        drain_timeout: Duration = 30.0,
    ) -> None:
        settings = Settings.from_environment()
        if isinstance(queues, str):
            raise TypeError(f"queues= must be a list of names, such as [{queues!r}]")
        self.concurrency = (
            settings.worker_max_concurrent or 10 if concurrency is None else concurrency
        )
        if warm is None:
            warm = _WARM if settings.worker_warm is None else settings.worker_warm
        if self.concurrency < 1 or warm < 0:
            raise ValueError("concurrency= must be at least 1, and warm= at least 0")
        self.functions = registry if functions is None else functions
        self.worker_id: str | None = None
        self._own_client = url is not None or schema is not None
        self._url, self._schema = url, schema
        self._drain_timeout = seconds(drain_timeout, name="drain_timeout")
        self._request: dict[str, Any] = {
            "queues": list(queues),
            "concurrency": self.concurrency,
            "warm": warm > 0,
            "early": True,
            "language": "python",
            "runtime": f"{sys.version_info.major}.{sys.version_info.minor}",
            "sdk_version": version(),
            "name": name or f"{socket.gethostname()}:{threading.get_native_id()}",
        }
        for field, value in (
            ("heartbeat_interval_ms", heartbeat_interval or settings.worker_heartbeat_interval),
            ("heartbeat_timeout_ms", heartbeat_timeout or settings.worker_heartbeat_timeout),
            ("poll_interval_ms", poll_interval or settings.worker_poll_interval),
        ):
            if value is not None:
                self._request[field] = milliseconds(value, name=field)
        self._warm = Warm(warm)
        # Functions that executions were put back for.
        self._lacking: list[tuple[str, str]] = []
        self._held: dict[str, Held] = {}
        self._progress: dict[str, dict[str, Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._beats: set[asyncio.Task[None]] = set()
        self._soon: list[Callable[[], None]] = []
        self._drained = self._ended = False
        self._failure: BaseException | None = None

    # --- life ---

    async def run(self, *, handle_signals: bool = True) -> None:
        """Works until `stop()`, SIGTERM or SIGINT, and drains.

        A second signal puts back what runs at once.

        Signals are left alone with handle_signals=False, and outside the main thread.
        """
        async with self:
            with self._signals(handle_signals):
                await self._stopping.wait()
                await self._drain()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Asks the worker to stop; asked again, it does not wait for what runs.

        From its own loop only.
        """
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        _live.add(self)
        self._stopping, self._hurry, self._changed = (
            asyncio.Event(),
            asyncio.Event(),
            asyncio.Event(),
        )
        self.client = self._connect()
        self.context = base_context(self.client)
        channel = self.client.engine.channel()
        self._call = channel.call
        self.outbox = Outbox(channel)
        self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="workflows")
        self.bodies = Bodies(self._pool, self._wake)
        self._drained, self._ended, self._failure = False, False, None
        await self._start()
        self._tasks = [
            self.loop.create_task(self._claiming()),
            self.loop.create_task(self._noticing()),
        ]
        for task in self._tasks:
            task.add_done_callback(self._watched)
        return self

    def _connect(self) -> Client:
        return Client(self._url, schema=self._schema) if self._own_client else client()

    def _watched(self, task: asyncio.Task[None]) -> None:
        """Stops the worker when it cannot go on, as with a schema that was removed under it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the worker cannot go on: %s", error, exc_info=error)
            self._failure = self._failure or error
            self._stopping.set()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._drain()
        finally:
            if not self._ended:
                self._ended = True
                await self._end()

    @contextlib.contextmanager
    def _signals(self, wanted: bool) -> Any:
        installed: list[int] = []
        if wanted and threading.current_thread() is threading.main_thread():
            for each in (signal.SIGTERM, signal.SIGINT):
                self.loop.add_signal_handler(each, self.stop)
                installed.append(each)
        try:
            yield
        finally:
            for each in installed:
                self.loop.remove_signal_handler(each)

    async def _start(self) -> None:
        reply = await self._patiently(Operation.START_WORKER, self._request)
        self.worker_id = reply["worker_id"]
        self._max_history = reply.get("max_history", MAX_HISTORY)
        log.info(
            "worker %s serves %s, %d at a time, with %s",
            self.worker_id,
            _names("queue", self._request["queues"]),
            self.concurrency,
            ", ".join(_names(kind, names) for kind, names in self.functions.names().items())
            or "no functions at all: import the modules that have them",
        )

    async def _drain(self) -> None:
        """Claims nothing more, and waits for what runs."""
        if self._drained:
            return
        self._drained = True
        self._stopping.set()
        with contextlib.suppress(WorkflowsError):
            await self._call(Operation.STOP_WORKER, {"worker_id": self.worker_id, "drain": True})
        if self._held and not self._hurry.is_set():
            log.info(
                "worker %s is stopping; what runs, %d in number, has %g s to finish"
                " (stop it again to put it back at once)",
                self.worker_id,
                len(self._held),
                self._drain_timeout,
            )
        deadline = self.loop.time() + self._drain_timeout
        while self._held and not self._hurry.is_set() and (left := deadline - self.loop.time()) > 0:
            self._changed.clear()
            await _first_of([self._changed.wait(), self._hurry.wait()], left)
        await self.outbox.flushed(
            0 if self._hurry.is_set() else max(1.0, deadline - self.loop.time())
        )

    async def _end(self) -> None:
        """Puts back the rest, and lets go of everything."""
        for held in list(self._held.values()):
            held.interrupt()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.outbox.flushed(1.0)  # what ended in its interruption
        self._send_progress()
        if self._beats:
            await asyncio.wait(self._beats, timeout=1.0)
        self.outbox.close()
        with contextlib.suppress(WorkflowsError):
            reply = await self._call(Operation.STOP_WORKER, {"worker_id": self.worker_id})
            log.info(
                "worker %s has stopped; executions put back: %d",
                self.worker_id,
                reply.get("released", 0),
            )
        self.forget()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._own_client:
            await asyncio.to_thread(self.client.close)

    def forget(self) -> None:
        """Discards every workflow in memory, without running its code."""
        for held in list(self._held.values()):
            if isinstance(held, HeldWorkflow):
                held.drop()
        self._held.clear()
        self._warm.clear()
        _live.discard(self)

    # --- claiming ---

    async def _claiming(self) -> None:
        """Asks for all free slots at once, again and again."""
        while not self._stopping.is_set():
            self._changed.clear()
            free = self.concurrency - len(self._held) - self.bodies.abandoned
            request: dict[str, Any] | None = {
                "worker_id": self.worker_id,
                "n": min(free, _MAX_CLAIM),
                "wait_ms": _CLAIM_WAIT_MS,
                "lacking": self.still_lacking(),
            }
            if free <= 0:
                request = await self._beyond(request)
            if request is None:
                continue
            try:
                reply = await self._patiently(Operation.CLAIM, request)
            except WorkerNotFound:
                await self._declared_dead()
                continue
            if reply["executions"]:
                # From a callback: workflow code must not run inside a task of this loop.
                self._take(reply["executions"])
            if reply.get("draining"):
                return

    async def _beyond(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Waits for a free slot, and answers what to ask for if none comes for a while.

        Workflows alone, as if every other function were lacking: what holds the slots may be
        what one of them is to cancel, and would hold them for ever.
        """
        try:
            async with asyncio.timeout(self._full_pause):
                await self._changed.wait()
            return None
        except TimeoutError:
            pass
        names = self.functions.names()
        bodies = [(kind, name) for kind in ("activity", "job") for name in names.get(kind, ())]
        lacking = request["lacking"] + [{"kind": kind, "name": name} for kind, name in bodies]
        more = 2 * self.concurrency - len(self._held)
        if self._stopping.is_set() or more <= 0 or len(lacking) > _MAX_LACKING:
            return None
        return {**request, "n": min(more, _MAX_CLAIM), "wait_ms": 0, "lacking": lacking}

    def still_lacking(self) -> list[dict[str, str]]:
        """Answers the functions that executions were put back for, and that are not here yet."""
        self._lacking = [each for each in self._lacking if self.functions.find(*each) is None]
        return [{"kind": kind, "name": name} for kind, name in self._lacking[-_MAX_LACKING:]]

    def _take(self, executions: Sequence[dict[str, Any]]) -> None:
        taken: list[Held] = []
        for claimed in executions:
            function = self.functions.find(claimed["kind"], claimed["name"])
            if function is None and (claimed["kind"], claimed["name"]) not in self._lacking:
                self._lacking.append((claimed["kind"], claimed["name"]))
            if claimed["kind"] == "workflow":
                claimed["max_history"] = self._max_history
                held: Held = HeldWorkflow(self, claimed, function, self._warm.take(claimed))
            else:
                held = HeldAttempt(self, claimed, function)
            self._held[held.id] = held
            taken.append(held)
        self.loop.call_soon(_begin, taken, context=contextvars.Context())

    async def _declared_dead(self) -> None:
        """The library does not know this worker any more: nothing that it held is its own now."""
        for held in list(self._held.values()):
            held.notice({"lost": True})
        await self._start()

    async def _patiently(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        """Performs an operation, and waits out what passes."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._call(operation, request)
            except WorkflowsError as error:
                # What the library itself failed at may work the next time; a worker goes on.
                if not error.retryable and not isinstance(error, Internal):
                    raise
                log.warning("%s is tried again in %g s: %s", operation.name.lower(), pause, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    # --- notices ---

    async def _noticing(self) -> None:
        """Hears about lost leases, cancels and new events."""
        while not self._ended:
            try:
                reply = await self._patiently(
                    Operation.PULL_EVENTS, {"worker_id": self.worker_id, "wait_ms": _CLAIM_WAIT_MS}
                )
            except WorkerNotFound:
                await asyncio.sleep(_FIRST_PAUSE)  # the claimer registers anew
                continue
            for notice in reply["notices"]:
                held = self._held.get(notice["id"])
                if held is not None and held.lease["token"] == notice["lease"]["token"]:
                    self.loop.call_soon(held.notice, notice, context=contextvars.Context())

    # --- what executions need ---

    def soon(self, call: Callable[[], None]) -> None:
        """Calls from a callback of the loop, with whatever else this turn asks for."""
        if not self._soon:
            self.loop.call_soon(self._call_all, context=contextvars.Context())
        self._soon.append(call)

    def _call_all(self) -> None:
        calls, self._soon = self._soon, []
        for call in calls:
            call()

    def freed(self, held: Held) -> None:
        """An execution is no longer held."""
        if self._held.get(held.id) is held:
            del self._held[held.id]
        self._changed.set()

    def suspended(self, held: HeldWorkflow) -> None:
        """A workflow waits for an event; it stays warm if there is room."""
        if held.replay is not None:
            self._warm.put(held.replay, held.lease["token"])
            held.replay = None
        self.freed(held)

    async def history(self, claimed: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Reads the events that a claim left out, page by page."""
        events: list[dict[str, Any]] = []
        request = {"id": claimed["id"], "run": claimed["run"], "after": 0, "limit": _HISTORY_PAGE}
        while request["after"] < claimed["after"]:
            reply = await self._patiently(Operation.GET_HISTORY, request)
            if not reply["events"]:
                raise Internal(f"the history of {claimed['id']} ends before {claimed['after']}")
            events += reply["events"]
            request["after"] = events[-1]["position"]
        return [event for event in events if event["position"] <= claimed["after"]]

    def report(self, held: Held, details: Any) -> None:
        """Sends progress, the latest of each execution and not too often."""
        if not self._progress:
            self.loop.call_later(_PROGRESS_PAUSE, self._send_progress)
        self._progress[held.id] = {"id": held.id, "lease": held.lease, "progress": details}

    async def record(self, held: Held, details: Any) -> None:
        """Sends an attempt's last progress, and waits until it is recorded."""
        await asyncio.gather(*self._beats, return_exceptions=True)  # none may overtake it
        self.report(held, details)
        self._send_progress()
        await asyncio.gather(*self._beats, return_exceptions=True)

    def _send_progress(self) -> None:
        if not self._progress:
            return
        items, self._progress = list(self._progress.values()), {}
        task = self.loop.create_task(self._beat(items))
        self._beats.add(task)
        task.add_done_callback(self._beats.discard)

    async def _beat(self, items: list[dict[str, Any]]) -> None:
        try:
            await self._call(Operation.HEARTBEAT, {"worker_id": self.worker_id, "items": items})
        except WorkflowsError as error:
            log.warning("progress was not recorded: %s", error)

    def _wake(self) -> None:
        self._changed.set()


_live: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def _forget_suspended() -> None:  # pyright: ignore[reportUnusedFunction]
    """A process that ends runs none of the code that its workers left suspended."""
    for worker in list(_live):
        worker.forget()


def _begin(taken: Sequence[Held]) -> None:
    for held in taken:
        held.begin()


async def _first_of(waits: list[Any], timeout: float) -> None:  # noqa: ASYNC109
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _names(what: str, names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{what} {names[0]}"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{plural} {' '.join(names[:_NAMED])}{more}"
