"""The environment that tests run workflows in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast, overload

from .._client import Client, replace_default
from .._errors import ExecutionFinished
from .._functions import Function
from .._handles import Handle
from .._operations import Operation
from .._registry import Registry
from .._registry import registry as everything
from .._settings import Duration, seconds
from ._calls import Call, calls_of_workflows
from ._doubles import ITS_OWN, Double
from ._handle import EnvironmentHandle
from ._proof import Prove
from ._runner import Runner, Setup

P = ParamSpec("P")
R = TypeVar("R")

START = datetime(2026, 1, 1, tzinfo=UTC)


class Replacement:
    """What stands in for a function, until it is removed or the environment is closed.

    Attributes:
        name: of the function.
    """

    def __init__(self, environment: WorkflowEnvironment, double: Double) -> None:
        self.name = double.name
        self._environment = environment
        self._double = double

    @property
    def calls(self) -> list[Call]:
        """The calls of the function, those before the replacement included."""
        return self._environment.calls(self.name)

    def remove(self) -> None:
        """Lets the function run again, or whatever stood in for it before."""
        self._environment._runner.doubles.remove(self._double)  # pyright: ignore[reportPrivateUsage]


class WorkflowEnvironment:
    """Runs workflows in this process: in memory, with time skipped.

    The worker, the replay and the bodies are those of production; the engine below is in
    memory and behaves like the library. Time stands still while code runs, and goes to
    what is due next when nothing can run. Nothing happens between your calls, unless you
    are in async code: there it happens while you await.

    While it is open, `workflows.client()` is its client.

    Args:
        start: the time at which it begins, an aware datetime.
        seed: of ids; with the same seed two runs of a test give the same histories.
        cold: replay workflows from the start whenever they go on (True), or keep them in memory
            (False). Default as for `Worker`: in memory, unless `WORKFLOWS_WORKER_WARM` is 0.
        prove: replay prefixes of every history, cold, and compare what the code asks for:
            "every" prefix, a "sample" of them if there are more than 200, or "never".
        max_runs: how often a workflow may continue as new before that counts as endless.
        time_limit: how far time may go while something is waited for.
        concurrency: how many executions the worker holds at a time.
        queues: which ones it serves. Default: all.
        functions: what it can run. Default: everything that was decorated.
        patience: how long, by the clock on the wall, an async body may wait for something from
            outside, such as a socket, before time is skipped all the same.

    Example:
        >>> with WorkflowEnvironment() as env:
        ...     env.replace(charge, returns="receipt 1")
        ...     assert env.run(order, "4242") == "receipt 1"
    """

    def __init__(
        self,
        *,
        start: datetime = START,
        seed: int = 0,
        cold: bool | None = None,
        prove: Prove = "sample",
        max_runs: int = 100,
        time_limit: Duration = "36500d",
        concurrency: int = 1000,
        queues: Sequence[str] | None = None,
        functions: Registry | None = None,
        patience: Duration = 5.0,
    ) -> None:
        if start.utcoffset() is None:
            raise ValueError(f"start= must be aware, such as datetime.now(timezone.utc): {start!r}")
        if prove not in ("every", "sample", "never"):
            raise ValueError(f'prove= must be "every", "sample" or "never", not {prove!r}')
        self._runner = Runner(
            Setup(
                start=start,
                seed=seed,
                cold=cold,
                prove=prove,
                max_runs=max_runs,
                concurrency=concurrency,
                queues=("*",) if queues is None else tuple(queues),
                functions=everything if functions is None else functions,
                time_limit=seconds(time_limit, name="time_limit"),
                patience=seconds(patience, name="patience"),
            )
        )
        self._former: Client | None = None

    # --- life ---

    def __enter__(self) -> Self:
        self._former = replace_default(self._runner.client)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()
        self._runner.close()
        if error is None:
            self._check()

    async def __aenter__(self) -> Self:
        self.__enter__()
        self._runner.attach()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()
        try:
            await self._runner.stop()
        finally:
            self._runner.shut()
        if error is None:
            self._check()

    def _check(self) -> None:
        """Raises what nobody has heard of yet."""
        self._runner.waiting.raise_failure()
        self._runner.prove(self._runner.engine.rows.values(), again=False)

    def _leave(self) -> None:
        if self._former is not None:
            replace_default(self._former)
            self._former = None

    def close(self) -> None:
        """Ends it, as leaving its `with` does: what runs is cancelled, and the proof is made."""
        self.__exit__(None, None, None)

    @property
    def client(self) -> Client:
        """The client of this environment; `workflows.client()` while it is open."""
        return self._runner.client

    # --- running ---

    def run(self, function: Function[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs a workflow, a job or an activity to its end, and answers its result.

        In async code `await function.run(...)` instead.

        Raises:
            ExecutionFailed: it failed; type, message and stack are those of the code.
            ExecutionCancelled: it was cancelled or terminated.
            Stuck: nothing can run and nothing is due; the message says what it waits for.
            Endless: it does not come to an end.
            NonDeterminismError: its code did something else when it was replayed.

        Example:
            >>> assert env.run(order, "4242") == "paid"
        """
        return self.start(function, *args, **kwargs).result()

    def start(
        self, function: Function[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> EnvironmentHandle[R]:
        """Starts a workflow, a job or an activity, and answers a handle.

        It runs when you ask for something that has to wait: its result, or time that passes.

        Raises:
            PayloadError: an argument is not JSON.
            ExecutionFinished: a signal was to go with the start, and the execution that has the
                idempotency key is over.

        Example:
            >>> handle = env.start(order.options(priority=9), "4242")
        """
        self._runner.attach()
        new = function.execution(args, kwargs)
        request = {"items": [new]}
        [created] = self._runner.perform(Operation.CREATE_EXECUTION, request)["results"]
        if created.get("signaled") is False:
            raise ExecutionFinished(
                f"the signal for {function.name} was not sent: its idempotency key belongs to"
                f" execution {created['id']}, which is over"
            )
        id, fresh = created["id"], created["created"]
        return EnvironmentHandle(self._runner, id, fresh, function.result_type)

    def handle(self, id: str | Handle[R]) -> EnvironmentHandle[R]:
        """Answers the handle of an execution that something else has started.

        Raises:
            LookupError: there is no such execution.
        """
        known = id.id if isinstance(id, Handle) else id
        if known not in self._runner.engine.rows:
            raise LookupError(f"no execution has id {known}")
        return EnvironmentHandle(self._runner, known)

    def executions(
        self, function: Function[..., Any] | str | None = None
    ) -> list[EnvironmentHandle[Any]]:
        """Answers the handles of all executions, or those of one function, the oldest first."""
        name = function.name if isinstance(function, Function) else function
        rows = self._runner.engine.rows.values()
        return [EnvironmentHandle(self._runner, r.id) for r in rows if name in (None, r.name)]

    # --- time ---

    def now(self) -> datetime:
        """Answers the environment's time."""
        return self._runner.now()

    @property
    def elapsed(self) -> timedelta:
        """How much time has passed in the environment."""
        return self.now() - self._runner.setup.start

    def skip(self, duration: Duration = 0) -> None:
        """Lets time pass, and everything happen that happens until then.

        With nothing, whatever can run at this moment runs. In async code `await
        asyncio.sleep(...)` instead.

        Example:
            >>> env.skip("3d")
        """
        limit = seconds(duration, name="duration")
        self._runner.drive(self._runner.waiting.skip(limit), "await asyncio.sleep(...)")

    def until(self, condition: Callable[[], bool]) -> None:
        """Runs until a condition holds; it is asked whenever something has happened.

        Raises:
            Stuck: nothing can run and nothing is due, and it does not hold.

        Example:
            >>> env.until(lambda: handle.get_state() == "packed")
        """
        self._runner.drive(
            self._runner.waiting.until(condition), "await asyncio.sleep(...) in a loop"
        )

    def after(self, duration: Duration, act: Callable[[], Any]) -> None:
        """Plans something: a function to call once the time has passed.

        What it answers is awaited if it can be; what it raises, whoever waits then gets.

        Example:
            >>> env.after("2h", env.crash)
        """
        self._runner.waiting.after(duration, act)

    def when(self, condition: Callable[[], bool], act: Callable[[], Any]) -> None:
        """Plans something for as soon as a condition holds.

        The condition is asked whenever something has happened, once it holds no more.
        """
        self._runner.waiting.when(condition, act)

    # --- what stands in, and what was called ---

    @overload
    def replace(
        self,
        function: Function[P, R],
        by: Callable[P, R] | Callable[P, Awaitable[R]] | None = None,
        *,
        takes: Duration | None = None,
    ) -> Replacement: ...
    @overload
    def replace(
        self, function: Function[P, R], *, returns: R, takes: Duration | None = None
    ) -> Replacement: ...
    @overload
    def replace(
        self,
        function: Function[..., Any],
        *,
        raises: BaseException | type[BaseException],
        takes: Duration | None = None,
    ) -> Replacement: ...
    @overload
    def replace(
        self,
        function: Function[P, R],
        *,
        outcomes: Iterable[R | BaseException | type[BaseException]],
        takes: Duration | None = None,
    ) -> Replacement: ...
    @overload
    def replace(
        self,
        function: str,
        by: Callable[..., Any] | None = None,
        *,
        returns: Any = ...,
        raises: BaseException | type[BaseException] = ...,
        outcomes: Iterable[Any] = ...,
        takes: Duration | None = None,
    ) -> Replacement: ...
    def replace(
        self,
        function: Any,
        by: Callable[..., Any] | None = None,
        *,
        returns: Any = ITS_OWN,
        raises: Any = ITS_OWN,
        outcomes: Any = ITS_OWN,
        takes: Duration | None = None,
    ) -> Replacement:
        """Has something else run instead of the body of an activity, a step, a job or a workflow.

        Everything around it stays as it is: retries, timeouts, cancellation, what is JSON and
        what is not. Without it bodies run for real.

        Args:
            function: the function, or the name of one that is not here, as of another language.
            by: a function to run, async or not. What stands in for a workflow is workflow code.
            returns: what every call answers.
            raises: what every attempt raises, an exception or its type.
            outcomes: what one attempt after another comes to; exceptions are raised, other values
                answered, and the last one stays. Of a workflow, one for each execution.
            takes: how long an attempt takes, in the environment's time. Alone, the body itself
                runs after it.

        Example:
            >>> env.replace(charge, outcomes=[BankBusy, BankBusy, "receipt 1"], takes="20s")
        """
        given = [each for each in (returns, raises, outcomes) if each is not ITS_OWN]
        if len(given) + (by is not None) > 1:
            raise TypeError("give one of a function, returns=, raises= and outcomes=")
        if raises is not ITS_OWN and not _is_exception(raises):
            raise TypeError(f"raises= must be an exception or its type, not {raises!r}")
        values = list(cast("Iterable[Any]", outcomes)) if outcomes is not ITS_OWN else given
        if not values and given:
            raise ValueError("outcomes= must have one at least")
        wait = 0.0 if takes is None else seconds(takes, name="takes")
        name, kind = (
            (function, None) if isinstance(function, str) else (function.name, function.kind)
        )
        double = Double(name, kind, by, values or [ITS_OWN], wait)
        self._runner.doubles.add(double)
        return Replacement(self, double)

    def calls(self, function: Function[..., Any] | str | None = None) -> list[Call]:
        """Answers what was called, in the order in which the bodies began.

        Of workflows it has the executions, in the order in which they were made.

        Args:
            function: or its name; default all activities, steps and jobs.

        Example:
            >>> [call] = env.calls(charge)
            >>> assert (call.args, call.attempts) == (("4242", 100), 3)
        """
        if function is None:
            return list(self._runner.calls.calls)
        name = function if isinstance(function, str) else function.name
        found = [call for call in self._runner.calls.calls if call.name == name]
        flow = self._runner.functions.find("workflow", name)
        return found or calls_of_workflows(self._runner.engine, flow, name)

    # --- what goes wrong ---

    def crash(
        self,
        *,
        after: Duration | None = None,
        when: Callable[[], bool] | None = None,
        after_events: int | None = None,
    ) -> None:
        """Kills the worker, as kill -9 would: now, after a time, on a condition, or in a write.

        None of the code that it runs goes on. Ten seconds later its death is noticed, and the
        next worker goes on from what was recorded. A body in a thread cannot be killed; its
        result is dropped.

        Args:
            after: how long from now, in the environment's time.
            when: asked whenever something has happened.
            after_events: kills it when so many more events have been written, in any history,
                before it hears that they have.

        Example:
            >>> env.crash(after_events=3)
            >>> assert env.run(order, "4242") == "paid"
        """
        act = self._runner.crash
        if after_events is not None:
            self._runner.waiting.after_events(after_events, act)
        elif when is not None:
            self._runner.waiting.when(when, act)
        elif after is not None:
            self._runner.waiting.after(after, act)
        else:
            act()

    def prove(self) -> None:
        """Replays prefixes of every history, and compares what the code asks for.

        It is done for a workflow when its result is asked for, and for the rest when the
        environment is closed.

        Raises:
            NonDeterminismError: the code did something else than before.
        """
        self._runner.prove(self._runner.engine.rows.values())


def _is_exception(value: Any) -> bool:
    return isinstance(value, BaseException) or (
        isinstance(value, type) and issubclass(value, BaseException)
    )
