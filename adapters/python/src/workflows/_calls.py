"""What durable calls answer: futures that are coroutines too."""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from ._errors import NotDurableError
from ._handles import Handle
from ._outcomes import (
    ActivityCancelled,
    ActivityError,
    ActivityTimeout,
    ChildCancelled,
    ChildFailed,
    ChildTimeout,
    StepError,
)
from ._tasks import Steady

if TYPE_CHECKING:
    from ._functions import Function
    from ._operations import Change, Sent, Status
    from ._replay import Replay

R = TypeVar("R")
T = TypeVar("T")

Json = dict[str, Any]

_TIMEOUTS = {"ExecutionTimeout", "ScheduleTimeout", "AttemptTimeout"}


class Call(Steady, asyncio.Future[R]):
    """A durable wait whose command has been given already.

    It is a future, so `gather`, `wait` and `shield` take it as it is, and it
    can be awaited twice. It is a `collections.abc.Coroutine` as well, so
    `create_task` and TaskGroup take it where they insist on one.
    """

    __slots__ = ("_iterator", "_order", "id", "kind", "name", "replay", "result_type", "sequence")

    replay: Replay
    # Of the child, once history tells.
    id: str
    sequence: int
    kind: str
    name: str
    result_type: Any

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancels what the call asked for, unless it has ended."""
        if not super().cancel(msg):
            return False
        self.replay.abandoned(self)
        return True

    def drop(self) -> None:
        """Ends the wait of a workflow that is being discarded; nothing is told of it."""
        super().cancel()

    def fail(self, error: BaseException) -> None:
        """Ends the call with an error, which the code may or may not look at."""
        self.set_exception(error)
        self._log_traceback = False

    def send(self, value: None) -> Any:
        """Goes on, as a coroutine."""
        return self._coroutine().send(value)

    def throw(self, *error: Any) -> Any:
        """Raises in the wait, as a coroutine."""
        return self._coroutine().throw(*error)

    def close(self) -> None:
        """Ends the wait, as a coroutine. What was asked for goes on."""
        self._coroutine().close()

    def _coroutine(self) -> Any:
        try:
            return self._iterator
        except AttributeError:
            self._iterator = self.__await__()
            return self._iterator

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r} of sequence {self.sequence}: {self._state.lower()}>"


cast(Any, Coroutine).register(Call)


def new_call(
    replay: Replay, sequence: int, kind: str, name: str, result_type: Any = Any
) -> Call[Any]:
    """Makes a call.

    Its attributes are set here, because an __init__ in Python costs as much as the rest.
    """
    loop = replay.loop
    call: Call[Any] = Call(loop=loop)
    call._order = loop.order()  # pyright: ignore[reportPrivateUsage]
    call.replay = replay
    call.id = ""
    call.sequence = sequence
    call.kind = kind
    call.name = name
    call.result_type = result_type
    return call


class StepCall:
    """A step that the worker is to run."""

    __slots__ = ("args", "call", "function", "kwargs")

    def __init__(
        self,
        call: Call[Any],
        function: Function[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.call = call
        self.function = function
        self.args = args
        self.kwargs = kwargs


class Turn:
    """What a workflow asks for when it waits, or is done."""

    __slots__ = ("commands", "error", "message", "next_run", "result", "steps", "then")

    def __init__(
        self,
        then: Literal["keep", "suspend", "complete", "fail", "continue", "park"],
        commands: list[Json] | None = None,
        steps: Sequence[StepCall] = (),
        *,
        result: Any = None,
        error: Json | None = None,
        message: str = "",
        next_run: Json | None = None,
    ) -> None:
        self.then = then
        self.commands: list[Json] = [] if commands is None else commands
        self.steps = steps
        self.result = result
        self.error = error
        self.message = message
        self.next_run: Json = {} if next_run is None else next_run


def wake(call: Call[None]) -> None:
    """Ends a wait, unless it has ended."""
    if not call.done():
        call.set_result(None)


def failure_of(call: Call[Any], payload: Any) -> BaseException:
    """Answers what an unsuccessful end raises at the await.

    Activities and children report {"error", "attempts"}, steps the error itself.
    """
    told = cast("Mapping[str, Any]", payload if isinstance(payload, Mapping) else {})
    error = cast("Mapping[str, Any]", told.get("error") or told)
    attempts = told.get("attempts", 1)
    timed_out = error.get("type") in _TIMEOUTS
    if call.kind == "step":
        raised: BaseException = StepError.of(
            error, cast("Mapping[str, Any]", error.get("details") or {}).get("attempts", 1)
        )
    elif call.kind == "child":
        raised = (ChildTimeout if timed_out else ChildFailed).of(error, call.id)
    else:
        raised = (ActivityTimeout if timed_out else ActivityError).of(error, attempts)
    return raised


def cancellation_of(call: Call[Any], payload: Any = None) -> BaseException:
    """Answers what is raised when somebody cancelled what the call waits for."""
    told = cast("Mapping[str, Any]", payload if isinstance(payload, Mapping) else {})
    reason = cast("Mapping[str, Any]", told.get("error") or {}).get("message")
    what = f"{call.kind} {call.name} was cancelled{f': {reason}' if reason else ''}"
    return (
        ChildCancelled("Cancelled", what, call.id)
        if call.kind == "child"
        else ActivityCancelled("Cancelled", what, cast("int", told.get("attempts", 1)))
    )


class ChildHandle(Handle[R]):
    """The handle of what a workflow has started. Its waits are durable."""

    __slots__ = ("_call",)

    def __init__(self, id: str, call: Call[R]) -> None:
        super().__init__(id, True, None, Any)
        self._call = call

    async def result(self, timeout: Any = None) -> R:  # noqa: ASYNC109
        """Waits for the end, durably. Cancelling the wait does not cancel what it waits for.

        Raises:
            TimeoutError: it did not end in time.
            ActivityError: it failed for good, if it is an activity or a job.
            ChildError: it failed for good, if it is a workflow; the subclass says how.
        """
        if timeout is None:
            return await asyncio.shield(self._call)
        from ._combinators import timeout as limit

        async with limit(timeout):
            return await asyncio.shield(self._call)

    async def cancel(self, reason: str = "") -> Change:
        """Cancels it. Whoever waits for its result gets ActivityCancelled or ChildCancelled.

        The answer is what this workflow knows: `changed` is false if the end was recorded
        already. The reason is not passed on: its own is that its parent cancelled it.
        """
        if self._call.done():
            return {"status": _status_of(self._call), "changed": False}
        self._call.replay.stop(self._call)
        return {"status": "cancelled", "changed": True}

    async def signal(self, name: str, payload: Any = None, key: str | None = None) -> Sent:
        """Sends it a signal, once, however often the workflow is replayed."""
        return await self._call.replay.send_signal(self.id, name, payload, key)

    def result_sync(self, timeout: Any = None) -> R:
        """Refused inside a workflow: it blocks."""
        raise _not_durable("result_sync()", "await handle.result()")

    async def status(self) -> Any:
        """Refused inside a workflow: the answer is not recorded."""
        raise _not_durable("status()", "await handle.result(), or ask from an activity")

    async def get_state(self, type: Any = Any) -> Any:
        """Refused inside a workflow: the answer is not recorded."""
        raise _not_durable("get_state()", "a signal from it, or ask from an activity")

    async def terminate(self, reason: str = "") -> Any:
        """Refused inside a workflow."""
        raise _not_durable("terminate()", "await handle.cancel()")


def _status_of(call: Call[Any]) -> Status:
    if call.cancelled() or isinstance(call.exception(), (ActivityCancelled, ChildCancelled)):
        return "cancelled"
    return "completed" if call.exception() is None else "failed"


def _not_durable(what: str, instead: str) -> NotDurableError:
    return NotDurableError(f"{what} is not durable inside a workflow; use {instead}")


def sequence_of(error: BaseException | None) -> int | None:
    """Answers the command whose failure went uncaught, for a retry to ask for it anew."""
    seen: set[int] = set()
    ahead: list[BaseException | None] = [error]
    while ahead:
        each = ahead.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        sequence = getattr(each, "workflows_sequence", None)
        if isinstance(sequence, int):
            return sequence
        ahead += [each.__context__, each.__cause__]
        if isinstance(each, BaseExceptionGroup):
            ahead += reversed(cast("tuple[BaseException, ...]", each.exceptions))
    return None


def frozen(value: Any) -> Any:
    """Answers plain JSON that later changes of the original do not reach."""
    kind = cast("type[Any]", type(value))
    if kind is list or kind is tuple:
        return [frozen(each) for each in value]
    if kind is dict:
        return {key: frozen(each) for key, each in value.items()}
    return value


def own(arguments: T) -> T:
    """Answers a step's arguments as they are now.

    What its body does to them must not reach the workflow: a replay would not do it. What
    cannot be copied, such as a connection, is handed over as it is.
    """
    if not arguments:
        return arguments
    try:
        return copy.deepcopy(arguments)
    except Exception:
        return arguments


class ContinueAsNew(BaseException):
    """Ends a run of a workflow, for the next one to begin.

    It is not an Exception, so that no `except Exception` of the workflow keeps it.
    """

    def __init__(self, args: list[Any], kwargs: Json) -> None:
        super().__init__("the workflow goes on as a new run")
        self.args_ = args
        self.kwargs_ = kwargs


def continuation_of(error: BaseException | None) -> ContinueAsNew | None:
    """Answers the ContinueAsNew that ended the code, also one from a task of a TaskGroup."""
    if isinstance(error, BaseExceptionGroup):
        onward, others = cast("BaseExceptionGroup[BaseException]", error).split(ContinueAsNew)
        return continuation_of(onward.exceptions[0]) if onward is not None and not others else None
    return error if isinstance(error, ContinueAsNew) else None


def child_id(claimed: Mapping[str, Any], sequence: int, at: float) -> str:
    """A UUIDv7 of the workflow's time that is the same if a lost command is given again."""
    import hashlib  # which few workers need, and half a megabyte of OpenSSL with it

    seed = f"{claimed['id']}:{claimed.get('run', 1)}:{sequence}"
    bits = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=10).digest(), "big")
    number = (int(at * 1000) << 80) | bits
    number = number & ~(0xF << 76) | (0x7 << 76)
    return str(uuid.UUID(int=number & ~(0x3 << 62) | (0x2 << 62)))


async def raising(error: BaseException) -> Any:
    """A body that could not begin."""
    raise error


async def answering(value: Any) -> Any:
    """A body that was no coroutine."""
    return value
