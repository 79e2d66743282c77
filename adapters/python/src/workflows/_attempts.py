"""Bodies of jobs, activities and steps: how an attempt runs, and what it can ask for."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Literal, cast

from ._client import Client
from ._errors import NotDurableError
from ._functions import Function, current_client
from ._payload import adapt, plain
from ._wire_errors import exception_to_error

Reason = Literal["lost", "timeout", "cancel", "stop"]


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    """The attempt that the code belongs to."""

    id: str
    name: str
    queue: str
    attempt: int
    parent_id: str | None
    root_id: str


class Attempt:
    """One attempt at a body, while it runs."""

    __slots__ = (
        "claimed",
        "progress",
        "reason",
        "report",
        "reported",
        "runner",
        "stopped",
        "task",
    )

    def __init__(self, claimed: Mapping[str, Any], report: Callable[[Any], None]) -> None:
        """Begins one; `report` may be called from any thread."""
        self.claimed = claimed
        self.progress: Any = claimed.get("progress")
        self.report = report
        self.reported = False
        self.reason: Reason | None = None
        self.stopped = False
        # What runs the body, while it does: what comes before and after is not interrupted.
        self.task: asyncio.Task[Any] | None = None
        # What runs all of it, if whoever began it has said so: to ask is a system call.
        self.runner: asyncio.Task[Any] | None = None

    def stop(self, reason: Reason, *, interrupt: bool = True) -> None:
        """Tells the body to stop.

        An async one is cancelled, a sync one has to look at `cancelled()`.
        """
        if self.reason is None or reason == "lost":
            self.reason = reason
        self.stopped = True
        if interrupt and self.task is not None:
            self.task.cancel()

    def again(self) -> None:
        """Gets ready for another try of the same body."""
        self.reason = None
        self.stopped = False

    @property
    def is_given_up(self) -> bool:
        """Whether nobody wants the outcome any more."""
        return self.reason in ("lost", "stop", "cancel")

    def ended(self) -> None:
        """Lets go of what holds on to it in turn: the collector has enough to do."""
        self.report = _unheard
        self.runner = None

    def beat(self, details: Any) -> None:
        """Reports progress, from the loop or from a thread."""
        self.progress, self.reported = details, True
        self.report(details)


def _unheard(details: Any) -> None:
    """Nobody is told of the progress of an attempt that has ended."""


_current: contextvars.ContextVar[Attempt | None] = contextvars.ContextVar(
    "workflows_attempt", default=None
)


def heartbeat(details: Any = None) -> None:
    """Reports the progress of the running job or activity.

    The next attempt finds the details in `last_heartbeat()`, and so does
    whoever looks at the execution. It is not needed to stay alive: the library
    keeps the lease by itself, however busy the body is. Works in threads too.

    Raises:
        PayloadError: the details are not JSON.
        NotDurableError: no job or activity is running here.

    Example:
        >>> for done in range(start, total):
        ...     workflows.heartbeat({"done": done})
    """
    _running("heartbeat()").beat(plain(details, path="details"))


def last_heartbeat(type: Any = Any) -> Any:
    """Answers the details of the last heartbeat, of this attempt or an earlier one, or None."""
    progress = _running("last_heartbeat()").progress
    return None if progress is None else adapt(progress, type, path="details")


def cancelled() -> bool:
    """Says whether the running body was asked to stop, or its result is not wanted any more.

    An async body is cancelled then, as tasks are. A sync one has to look here
    from time to time.
    """
    attempt = _current.get()
    return attempt is not None and attempt.stopped


def attempt_info() -> AttemptInfo:
    """Answers which execution this is, and which attempt at it.

    Raises:
        NotDurableError: no job, activity or step is running here.
    """
    claimed = _running("attempt_info()").claimed
    return AttemptInfo(
        claimed["id"],
        claimed["name"],
        claimed["queue"],
        claimed["attempt"],
        claimed.get("parent_id"),
        claimed["root_id"],
    )


def _running(what: str) -> Attempt:
    attempt = _current.get()
    if attempt is None:
        raise NotDurableError(
            f"{what} only works in the body of a job, an activity or a step that a worker runs"
        )
    return attempt


def context_of(attempt: Attempt, base: contextvars.Context) -> contextvars.Context:
    """Answers the context for a body, made of that of its worker."""
    context = base.copy()
    context.run(_current.set, attempt)
    return context


def base_context(client: Client) -> contextvars.Context:
    """Answers the context of all bodies of a worker: nothing but its client."""
    context = contextvars.Context()
    context.run(current_client.set, client)
    return context


class Bodies:
    """Runs bodies: async ones on the loop, sync ones in threads."""

    def __init__(
        self,
        pool: Executor,
        freed: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._freed = freed
        # Threads whose result nobody waits for any more. They cannot be stopped, and take a slot.
        self.abandoned = 0

    async def run(
        self,
        function: Function[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        attempt: Attempt,
        timeout: float | None,  # noqa: ASYNC109
    ) -> tuple[bool, Any]:
        """Runs a body once, and answers (True, result) or (False, exception).

        Nothing gets out of it.
        """
        limit = None if timeout is None else _Limit(attempt, timeout)
        attempt.task = task = attempt.runner or asyncio.current_task()
        try:
            if not function.is_async:
                value = await self._in_thread(function, args, kwargs, limit)
            else:
                if limit is not None:
                    limit.begin()
                value = await function.plain(*args, **kwargs)
            if attempt.reason == "timeout":
                raise asyncio.CancelledError
            return True, value
        except BaseException as error:
            return False, _timed_out(timeout) if attempt.reason == "timeout" else error
        finally:
            attempt.task = None
            if limit is not None:
                limit.end()
            if attempt.reason == "timeout" and task is not None:
                task.uncancel()  # it was ours, and another try may follow

    async def _in_thread(
        self,
        function: Function[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        limit: _Limit | None,
    ) -> Any:
        context = contextvars.copy_context()

        def body() -> tuple[bool, Any]:
            if limit is not None:
                limit.begin_in_thread()  # the time that it waited for a thread is not its own
            return context.run(_caught, function.plain, args, kwargs)

        # Not run_in_executor: what that answers can be cancelled while its thread goes on.
        thread = self._pool.submit(body)
        try:
            ok, value = await asyncio.shield(asyncio.wrap_future(thread))
        except asyncio.CancelledError:
            if not thread.cancel():
                self.abandoned += 1
                loop = asyncio.get_running_loop()
                thread.add_done_callback(lambda _: _tell(loop, self._returned))
            raise
        if not ok:
            raise value
        return value

    def spread(self) -> float:
        """Answers where in the jitter of its policy the pause before a step's next try falls."""
        return random.uniform(-1, 1)

    def _returned(self) -> None:
        self.abandoned -= 1
        self._freed()


class _Limit:
    """The timeout of one try at a body, counted from when the body begins."""

    def __init__(self, attempt: Attempt, timeout: float) -> None:
        self._attempt = attempt
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def begin(self) -> None:
        """Starts to count."""
        if not self._over:
            self._timer = self._loop.call_later(self._timeout, self._attempt.stop, "timeout")

    def begin_in_thread(self) -> None:
        """Does the same from the thread of the body."""
        _tell(self._loop, self.begin)

    def end(self) -> None:
        """Stops counting."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts any more
        loop.call_soon_threadsafe(callback)


class AttemptTimeout(Exception):
    """An attempt did not end within its timeout."""


def _timed_out(timeout: float | None) -> AttemptTimeout:
    return AttemptTimeout(f"the attempt did not end within {timeout:g} s")


def _caught(
    plain: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[bool, Any]:
    """Keeps exceptions out of the executor.

    StopIteration would be lost in it, and SystemExit worse.
    """
    try:
        return True, plain(*args, **kwargs)
    except BaseException as error:
        return False, error


def wire_error(error: BaseException, retry: Mapping[str, Any] | None) -> dict[str, Any]:
    """Answers an error for the wire.

    A subclass of a type that is never retried is not retried either.
    """
    wire = exception_to_error(error)
    never = cast("Sequence[str]", (retry or {}).get("non_retryable") or ())
    if any(base.__name__ in never for base in type(error).__mro__):
        wire["non_retryable"] = True
    return wire
