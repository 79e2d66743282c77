"""The life of an environment: its loop, its worker, and what they carry out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from .._errors import NonDeterminismError
from .._functions import Function
from .._operations import Execution, Operation
from .._outcomes import ResultTimeout
from .._payload import dump_request, loads
from .._registry import Registry
from .._settings import Duration, seconds
from .._wire_errors import fault_to_exception
from ._bodies import Body
from ._calls import CallLog
from ._client import EnvironmentClient
from ._clock import instant
from ._doubles import Doubles, Functions
from ._engine import MemoryEngine
from ._proof import Prove, prove
from ._rows import Fault, Row
from ._skipping import Skipping
from ._troubles import Troubles
from ._waiting import Waiting
from ._waits import Waits
from ._worker import EnvironmentWorker

T = TypeVar("T")

_HEARTBEAT_TIMEOUT_MS = 10_000
_WARM = 100_000  # suspended workflows that stay in memory


@dataclass(slots=True)
class Setup:
    """How an environment was asked to be."""

    start: datetime
    seed: int
    cold: bool | None
    prove: Prove
    max_runs: int
    concurrency: int
    queues: tuple[str, ...]
    functions: Registry
    time_limit: float
    patience: float


class Runner:
    """Runs a worker on the engine in memory, on a loop that skips time."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.engine = MemoryEngine(setup.start, setup.seed)
        self.doubles = Doubles()
        self.functions = Functions(setup.functions, self.doubles)
        self.calls = CallLog(self.now)
        self.waits = Waits(self.engine, self.functions.find)
        troubles = Troubles(self.engine, self.functions, setup.max_runs)
        self.waiting = Waiting(self, self.engine, troubles, self.waits, setup.time_limit)
        self.skipping = Skipping(self.engine, self.waiting, self._bodies, setup.patience)
        self.client = EnvironmentClient(self, outside=True)
        self.worker: EnvironmentWorker | None = None
        self.is_closed = False
        self._starting: asyncio.Task[Any] | None = None
        self._thread = threading.get_ident()
        self._proven: dict[tuple[str, int], tuple[int, Exception | None]] = {}

    # --- the loop ---

    def is_mine(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this loop goes by the environment's time."""
        return loop is self.skipping.loop

    def soon(self, act: Callable[[], Any]) -> bool:
        """Has something called by the loop, and answers whether there is one."""
        loop = self.skipping.loop
        if loop is None or loop.is_closed():
            return False
        here = threading.get_ident() == self._thread
        (loop.call_soon if here else loop.call_soon_threadsafe)(act)
        return True

    def attach(self) -> None:
        """Takes the running loop over, if there is one in the thread of the environment.

        Raises:
            RuntimeError: the environment is closed.
        """
        if self.is_closed:
            raise RuntimeError("the environment is closed: nothing runs in it any more")
        loop = self.skipping.loop
        if loop is not None and loop.is_closed():
            self._abandon_loop()
        if self.skipping.loop is not None or threading.get_ident() != self._thread:
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return
        self.skipping.take_over(running)
        self._start_worker()

    def _abandon_loop(self) -> None:
        """The loop was closed under the worker, as at the end of an asyncio.run()."""
        self._kill_worker()
        for worker in self.engine.workers.values():
            self.engine.recover(worker, crashed=False)
        self.skipping.give_back()
        self.waiting.forget()

    def drive(self, coroutine: Coroutine[Any, Any, T], instead: str) -> T:
        """Runs the loop until a coroutine is done.

        Raises:
            RuntimeError: this is async code, which has to await; `instead` says what.
        """
        try:
            self._refuse_on_loop(instead)
            self.attach()
            if self.skipping.loop is None:
                self.skipping.open()
                self._start_worker()
        except BaseException:
            coroutine.close()
            raise
        return cast("asyncio.AbstractEventLoop", self.skipping.loop).run_until_complete(coroutine)

    def _refuse_on_loop(self, instead: str) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise RuntimeError(
            f"this would block the event loop that runs in this thread; use `{instead}`"
        )

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Waits for a coroutine from code that is not async, such as a body in a thread."""
        loop = self.skipping.loop
        if loop is None or not loop.is_running() or threading.get_ident() == self._thread:
            return self.drive(coroutine, "await handle.result()")
        answer = self.skipping.threads.answer(coroutine)
        return asyncio.run_coroutine_threadsafe(answer, loop).result()

    # --- the worker ---

    def _start_worker(self) -> None:
        setup = self.setup
        self.worker = EnvironmentWorker(
            EnvironmentClient(self, outside=False),
            self.skipping.threads,
            self.doubles,
            self.calls,
            queues=list(setup.queues),
            concurrency=setup.concurrency,
            functions=self.functions,
            name="an environment",
            warm=None if setup.cold is None else 0 if setup.cold else _WARM,
        )
        loop = cast("asyncio.AbstractEventLoop", self.skipping.loop)
        self._starting = loop.create_task(self.worker.__aenter__())
        self._starting.add_done_callback(self.waiting.failed)

    def _kill_worker(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
        if self.worker is not None:
            self.worker.kill()

    def _bodies(self) -> set[Body]:
        """Answers the bodies that may wait for something else than the engine."""
        bodies = set[Body]() if self.worker is None else self.worker.open_bodies
        return set(sorted(bodies, key=id)[self.waiting.inside :]) if bodies else bodies

    @property
    def failure(self) -> BaseException | None:
        """What keeps the worker from going on."""
        return None if self.worker is None else self.worker.failure

    def crash(self) -> None:
        """Kills the worker. The next one goes on once the death was noticed."""
        worker = self.worker
        if worker is None:
            return
        self._kill_worker()
        if worker.worker_id is not None:
            self.engine.lose(self.engine.workers[worker.worker_id], _HEARTBEAT_TIMEOUT_MS)
        self._start_worker()

    async def stop(self) -> None:
        """Ends the worker: what still runs is cancelled, what is suspended is forgotten."""
        worker, starting = self.worker, self._starting
        self.worker = None
        if worker is None or starting is None:
            return
        if not starting.done():
            await asyncio.gather(starting, return_exceptions=True)
        if worker.is_busy:
            worker.stop()
            worker.stop()
            await worker.__aexit__(None, None, None)
        else:
            worker.kill()
            await worker.gone()

    def close(self) -> None:
        """Ends everything, from code that is not async."""
        if self.is_closed:
            return
        loop = self.skipping.loop
        try:
            if loop is not None and not loop.is_closed() and not loop.is_running():
                loop.run_until_complete(self.stop())
            elif self.worker is not None:
                self._kill_worker()
        finally:
            self.shut()

    def shut(self) -> None:
        """Lets go of the loop and the threads."""
        self.is_closed = True
        loop, is_own = self.skipping.loop, self.skipping.is_own
        if loop is not None and is_own and not loop.is_closed():
            _cancel_all(loop)
            loop.close()
        self.skipping.give_back()
        self.skipping.threads.shutdown(wait=False, cancel_futures=True)

    # --- operations ---

    def perform(self, operation: Operation, request: Any) -> Any:
        """Performs an operation that does not wait."""
        return self.engine.perform(operation, request)

    async def call(self, operation: Operation, request: Any) -> Any:
        """Performs an operation, on the environment's loop."""
        if operation in (Operation.CLAIM, Operation.PULL_EVENTS):
            return await self._poll(operation, request)
        if operation is Operation.WAIT_EXECUTION:
            wait = request.get("wait_ms", 0) / 1000
            await self.waiting.end_of(self._find(request["id"]), wait, outside=False)
        return self.perform(operation, request)

    async def _poll(self, operation: Operation, request: Any) -> Any:
        """Waits for work, or for news; a poll without either does not end."""
        while True:
            version = self.engine.version
            reply = self.perform(operation, request)
            if reply.get("executions") or reply.get("draining") or reply.get("notices"):
                return reply
            await self.waiting.news(version)

    def _find(self, id: str) -> Row:
        try:
            return self.engine.find(id)
        except Fault as fault:
            raise fault_to_exception(fault.wire) from None

    async def wait(self, id: str, timeout: Duration | None, *, outside: bool) -> Execution:  # noqa: ASYNC109
        """Waits for the end of an execution, and proves its workflows deterministic.

        Raises:
            ResultTimeout: it did not end in time.
            Stuck: it waits for what does not come.
            NonDeterminismError: its code is not deterministic.
        """
        row = self._find(id)
        limit = None if timeout is None else seconds(timeout, name="timeout")
        if not await self.waiting.end_of(row, limit, outside=outside):
            raise ResultTimeout(f"execution {id} did not end within {limit} s; it goes on", id)
        return loads(dump_request(row.reply()))

    def now(self) -> datetime:
        """Answers the environment's time."""
        return instant(self.engine.clock.now)

    # --- the proof ---

    def prove(self, rows: Iterable[Row], *, again: bool = True) -> None:
        """Replays prefixes of the histories of workflows.

        Args:
            rows: the workflows; others are passed over.
            again: raise for those too for which it was raised before.

        Raises:
            NonDeterminismError: the code did something else than before.
        """
        if self.setup.prove == "never":
            return
        for row in rows:
            function = self.functions.find("workflow", row.name) if row.is_workflow else None
            if function is None or row.parked is not None or self.functions.is_double(row.name):
                continue
            known = [self._proven.get((row.id, run), (-1, None)) for run in row.histories]
            if not again and any(error for _, error in known):
                continue
            for (run, events), (length, error) in zip(row.histories.items(), known, strict=True):
                if length != len(events):
                    error = self._prove(row, run, function)
                if error is not None:
                    raise error

    def _prove(self, row: Row, run: int, function: Function[..., Any]) -> Exception | None:
        try:
            prove(row, run, function, self.setup.prove)
            error = None
        except NonDeterminismError as found:
            error = found
        self._proven[row.id, run] = len(row.histories[run]), error
        return error


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """Cancels what bodies have left running."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
