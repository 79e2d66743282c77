"""The event loop that workflow code runs on: a ready queue, durable timers, nothing else.

Everything that it does follows from the calls made to it, never from a clock, a
socket or the address of an object. What asyncio offers beside that is refused
where it is called, so that nothing hangs.
"""

# asyncio has no public way to run one loop inside another's callback.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import sys
import types
from asyncio import events, tasks
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar, cast

from ._errors import Evicted, NotDurableError
from ._ready import DurableTimer, Ready, ready
from ._tasks import Gathering, WorkflowFuture, WorkflowTask, is_done, new_task, note_timeout

if TYPE_CHECKING:
    from ._replay import Replay

T = TypeVar("T")

log = logging.getLogger("workflows")

# Callbacks between two commands. Waking ten thousand tasks takes some thirty thousand.
MAX_TICKS = 200_000


class Owner(Protocol):
    """What the loop needs of the workflow whose code it runs."""

    @property
    def seed(self) -> int:
        """The same number in every process that replays this workflow."""
        ...

    def time(self) -> float:
        """The workflow's time, in seconds since 1970."""
        ...

    def start_timer(self, delay: float, name: str, fire: Callable[[], None]) -> int:
        """Starts a durable timer and answers its sequence."""
        ...

    def cancel_timer(self, sequence: int) -> None:
        """Cancels a durable timer that has not fired."""
        ...


class _Nobody:
    """The owner of a loop whose workflow was discarded."""

    seed = 0

    def time(self) -> float:
        raise _evicted()

    def start_timer(self, delay: float, name: str, fire: Callable[[], None]) -> int:
        raise _evicted()

    def cancel_timer(self, sequence: int) -> None:
        """The timer belongs to the history now."""


# Where frames are that are no workflow's code.
_NOT_THEIRS = (os.path.dirname(asyncio.__file__), os.path.dirname(__file__))

_NOBODY = _Nobody()
_EMPTY = contextvars.Context()


def _evicted() -> Evicted:
    return Evicted(
        "this workflow is being discarded from memory; it goes on elsewhere, from its history"
    )


class WorkflowLoop(asyncio.AbstractEventLoop):
    """A deterministic event loop for one workflow."""

    __slots__ = (
        "_collects",
        "_made",
        "_outer",
        "_outer_hooks",
        "_ready",
        "_too_many",
        "evicted",
        "fatal",
        "owner",
        "tasks",
        "ticks",
    )

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.tasks: list[WorkflowTask[Any]] = []
        self.evicted = False
        self.fatal: BaseException | None = None
        self._ready: deque[Ready] = deque()
        # Callbacks since something was asked for or happened: many are an endless loop.
        self.ticks = 0
        self._made = 0
        self._too_many = 64
        self._collects = True
        self._outer: asyncio.AbstractEventLoop | None = None
        self._outer_hooks: Any = None

    # --- stepping, for the replay ---

    def enter(self, outer: asyncio.AbstractEventLoop | None = None) -> None:
        """Makes this the running loop.

        Only from a callback of the outer loop, where no task is current. Who knows which that is
        says so: to ask is a system call.
        """
        # What the collector finds, such as an async generator that was left half-way, it would
        # finalise at another place in each process. So it does not run while this loop does.
        self._collects = gc.isenabled()
        gc.disable()
        self._outer = outer or events._get_running_loop()
        events._set_running_loop(self)
        self._outer_hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._finalise)

    def leave(self) -> None:
        """Makes the outer loop the running one again."""
        sys.set_asyncgen_hooks(*self._outer_hooks)
        events._set_running_loop(self._outer)
        self._outer = None
        if self._collects:
            gc.enable()

    def run_until_idle(self, root: asyncio.Task[Any]) -> None:
        """Runs what is ready until nothing is, or until the root is done: nothing runs after it."""
        ready = self._ready
        while ready and self.fatal is None and not is_done(root):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            self.ticks += 1
            if self.ticks > MAX_TICKS:
                self._stuck()
                return
            try:
                handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt) as stop:
                # asyncio lets these out of a task; they end this workflow and nothing else.
                self.fatal = stop
            except BaseException:
                log.exception("a callback of a workflow failed")

    def evict(self) -> list[asyncio.Task[Any]]:
        """Ends the loop and answers the tasks that were not done. For `discard` alone."""
        self.evicted = True
        tasks_left = [task for task in self.tasks if not is_done(task)]
        self.tasks = []
        self._ready.clear()
        self.owner = _NOBODY
        return cast("list[asyncio.Task[Any]]", tasks_left)

    def _stuck(self) -> None:
        self.fatal = NotDurableError(
            f"the workflow ran {MAX_TICKS} callbacks without awaiting anything durable; a loop "
            "around asyncio.sleep(0) never ends, await an activity or workflows.sleep() in it"
        )

    def _finalise(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Closes an async generator that the workflow itself dropped half-way."""
        if not self.evicted and events._get_running_loop() is self:
            self.create_task(generator.aclose())

    # --- what asyncio asks of a loop ---

    def call_soon(
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Ready:  # type: ignore[override]
        """Runs a callback in its turn."""
        if self.evicted:
            return ready(callback, args, context or _EMPTY)
        handle = ready(
            callback, args, context if context is not None else contextvars.copy_context()
        )
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:  # type: ignore[override]
        """Runs a callback when a durable timer fires."""
        caller = sys._getframe(1).f_code
        if caller is _UNSTABLE_WAIT_FOR:
            raise NotDurableError(
                "asyncio.wait_for runs its tasks in another order in Python 3.11 than in "
                "later versions, so a workflow could not be "
                "replayed after an upgrade; use `async with asyncio.timeout(...)`"
            )
        if caller in _AS_COMPLETED:
            raise NotDurableError(_NO_AS_COMPLETED)
        return DurableTimer(self, delay, callback, args, context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:  # type: ignore[override]
        """Runs a callback when a durable timer fires."""
        return DurableTimer(self, when - self.time(), callback, args, context)

    def time(self) -> float:
        """Answers the workflow's time: that of its latest event."""
        note_timeout(sys._getframe(1))
        return self.owner.time()

    def create_future(self) -> asyncio.Future[Any]:
        """Makes a future."""
        caller = sys._getframe(1)
        if caller.f_code is _WAIT:
            _refuse_unstable(caller.f_locals["fs"])
        future = WorkflowFuture[Any](loop=self)
        future._order = self.order()
        return future

    def gather(self, futures: list[asyncio.Future[Any]], takes_errors: bool) -> Gathering:
        """Makes a future of all the results, for workflows.gather."""
        return Gathering(futures, takes_errors=takes_errors, loop=self, order=self.order())

    def order(self) -> int:
        """A hash for the next task or future: the same in every process."""
        self._made += 1
        return self.owner.seed ^ (self._made * 0x9E3779B1)

    def create_task(  # type: ignore[override]
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> WorkflowTask[T]:
        """Makes a task of workflow code."""
        if options.get("eager_start"):
            raise NotDurableError(
                "eager tasks do not run in workflows: they start before their turn, and not "
                "in every version of Python"
            )
        if sys._getframe(1).f_code is _ENSURE_FUTURE:
            _refuse_as_completed()
        task = new_task(coro, self.order(), self, name or "workflow task", context)
        if len(self.tasks) >= self._too_many:
            self.tasks = [each for each in self.tasks if not is_done(each)]
            self._too_many = max(64, 2 * len(self.tasks))
        self.tasks.append(task)  # held: one that only waits for its kind could be collected
        return task

    def get_task_factory(self) -> None:
        """Answers None: there is no other."""
        return None

    def get_debug(self) -> bool:
        """Answers False: debug mode reads the clock."""
        return False

    def is_running(self) -> bool:
        """Answers True: whoever can ask runs on it."""
        return True

    def is_closed(self) -> bool:
        """Answers False: asyncio asks before it makes a future."""
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Logs what asyncio has no one to tell, such as a task's exception that nobody awaited."""
        if not self.evicted:
            log.warning(
                "in a workflow: %s",
                context.get("message", "unhandled exception"),
                exc_info=context.get("exception"),
            )


_STEPPING = WorkflowLoop.run_until_idle.__code__

# Identified by their code, because a task made in them cannot be told from another.
_ENSURE_FUTURE: types.CodeType = getattr(tasks, "_ensure_future", tasks.ensure_future).__code__
_AS_COMPLETED = {
    tasks.as_completed.__code__,
    *(c for c in tasks.as_completed.__code__.co_consts if hasattr(c, "co_code")),
}
if sys.version_info >= (3, 13):
    _AS_COMPLETED |= {tasks._AsCompletedIterator.__init__.__code__}
_WAIT: types.CodeType | None = getattr(getattr(tasks, "_wait", None), "__code__", None)
_NO_AS_COMPLETED = (
    "asyncio.as_completed starts coroutines in the order of their addresses, which differs "
    "between processes, and its timeout at another time in Python 3.13; use "
    "workflows.as_completed"
)
_UNSTABLE_WAIT_FOR = tasks.wait_for.__code__ if sys.version_info < (3, 12) else None


def _refuse_as_completed() -> None:
    caller = sys._getframe(3)
    if caller.f_code.co_name == "ensure_future":
        caller = caller.f_back or caller
    if caller.f_code in _AS_COMPLETED:
        raise NotDurableError(_NO_AS_COMPLETED)


def _refuse_unstable(futures: Iterable[object]) -> None:
    """Only what was made here has the same order in a set in every process."""
    for each in futures:
        if not hasattr(each, "_order"):
            raise NotDurableError(
                f"asyncio.wait answers sets, and the order of {type(each).__name__} in one "
                f"differs between processes; use workflows.wait or workflows.gather"
            )


_HINTS = {
    "run_in_executor": "a thread's result is not recorded; make it a @step or an @activity",
    "call_soon_threadsafe": "other threads cannot be replayed; send the workflow a signal",
    "getaddrinfo": "network access is not recorded; use an @activity",
    "create_connection": "network access is not recorded; use an @activity",
    "subprocess_exec": "a process is not recorded; use an @activity",
    "subprocess_shell": "a process is not recorded; use an @activity",
    "add_signal_handler": "signals of the operating system belong to the worker; send the "
    "workflow a signal of its own",
}


def _refused(name: str) -> Callable[..., NoReturn]:
    hint = _HINTS.get(name, "it would not survive a restart; use an @activity or a @step")

    def refuse(self: WorkflowLoop, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotDurableError(f"loop.{name}() is not durable inside a workflow: {hint}")

    return refuse


for _name in dir(asyncio.AbstractEventLoop):
    if not _name.startswith("_") and _name not in vars(WorkflowLoop):
        setattr(WorkflowLoop, _name, _refused(_name))


def running() -> WorkflowLoop | None:
    """Answers the workflow loop that runs this code, or None outside workflows.

    Raises:
        Evicted: the code runs because its workflow is being discarded.
    """
    loop = events._get_running_loop()
    if not isinstance(loop, WorkflowLoop):
        return None
    if loop.evicted:
        raise _evicted()
    return loop


def active() -> Replay | None:
    """Answers the workflow whose code is running, or None outside workflows.

    Raises:
        Evicted: the code runs because its workflow is being discarded.
    """
    loop = events._get_running_loop()  # as `running` does, without the call
    if type(loop) is not WorkflowLoop:
        return None
    if loop.evicted:
        raise _evicted()
    return cast("Replay", loop.owner)


def refuse_inside(what: str, instead: str) -> None:
    """Refuses a blocking call in workflow code.

    Raises:
        NotDurableError: this is workflow code.
    """
    if running() is not None:
        raise NotDurableError(f"{what} is not durable inside a workflow; use {instead}")


def place_of_call() -> str:
    """Answers where the workflow's code stands that is running, as " at FILE:LINE", or nothing."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code is not _STEPPING:
        if not frame.f_code.co_filename.startswith(_NOT_THEIRS):
            return f" at {frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def place_of_wait(root: WorkflowTask[Any]) -> str:
    """Answers where a workflow waits, in the same form."""
    where = ""
    inner: Any = root.get_coro()
    while inner is not None and (frame := getattr(inner, "cr_frame", None)) is not None:
        if not where or not frame.f_code.co_filename.startswith(_NOT_THEIRS):
            where = f" at {frame.f_code.co_filename}:{frame.f_lineno}"
        inner = inner.cr_await
    return where


def not_durable(root: WorkflowTask[Any]) -> NotDurableError:
    """Answers the error of a root that waits for nothing durable, with the place where it waits."""
    return NotDurableError(
        f"the workflow awaits something{place_of_wait(root)} that nothing durable will ever end: "
        "no activity, step, child, timer or signal is waited for. Await what the SDK gives, and "
        "let activities do the rest"
    )
