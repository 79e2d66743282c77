"""What workflow code calls: time, chance, waits, signals, versions, state.

Each of these is the same on every replay. Outside workflows the clock and the
random numbers are the ordinary ones, so that a workflow function can be called
directly in a unit test; what needs a history refuses.
"""

from __future__ import annotations

import asyncio
import random as _random
import uuid as _uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar, cast, overload

from ._errors import (
    ExecutionFinished,
    ExecutionNotFound,
    InvalidPayload,
    InvalidRequest,
    InvalidState,
    NotDurableError,
    PayloadTooLarge,
)
from ._functions import AsyncFunction, home
from ._history import MAX_HISTORY
from ._loop import active, refuse_inside
from ._options import Options
from ._payload import adapt
from ._replay import Replay
from ._settings import Duration, milliseconds

T = TypeVar("T")

_MAX_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """The workflow that the code belongs to."""

    id: str
    run: int
    name: str
    queue: str
    parent_id: str | None
    root_id: str
    # How many events its history has, of those that the code has seen.
    history_length: int
    # Whether the history is so long that `continue_as_new` is in place: a fifth of what is allowed.
    continue_as_new_suggested: bool


def workflow_info() -> WorkflowInfo:
    """Answers which workflow this is.

    `run`, `history_length` and `continue_as_new_suggested` are for deciding when to
    continue as new. A retry copies the history into a further run, and a limit can be
    lowered by whoever runs the worker: let nothing else hang on them.

    Raises:
        NotDurableError: called outside a workflow.
    """
    replay = _inside("workflow_info()")
    claimed = replay.claimed
    return WorkflowInfo(
        claimed["id"],
        claimed["run"],
        claimed["name"],
        claimed["queue"],
        claimed.get("parent_id"),
        claimed["root_id"],
        replay.history.length,
        replay.history.length * 5 >= claimed.get("max_history", MAX_HISTORY),
    )


def now() -> datetime:
    """Answers the workflow's time, aware and in UTC.

    It is the time of the latest event that the code has seen, so it is the
    same on every replay, and stands still while the code runs.

    Example:
        >>> workflows.now() + timedelta(days=3)
    """
    replay = active()
    return replay.history.now() if replay is not None else datetime.now(UTC)


def uuid4() -> _uuid.UUID:
    """Answers a random uuid that is the same on every replay. Two calls differ."""
    replay = active()
    return replay.history.uuid4() if replay is not None else _uuid.uuid4()


def random() -> float:
    """Answers a number from 0.0 up to 1.0, the same on every replay. Two calls differ."""
    replay = active()
    return replay.history.random() if replay is not None else _random.random()


def is_replaying() -> bool:
    """Says whether recorded history is still ahead of the code.

    Use it to log once. It is false from the first command on that history does
    not have. Never decide by it what to do: that could not be replayed.

    Example:
        >>> if not workflows.is_replaying():
        ...     log.info("order %s paid", order)
    """
    replay = active()
    return replay is not None and replay.is_replaying()


def get_version(change: str, min: int, max: int) -> int:
    """Answers by which version of a change this workflow goes, one for all its life.

    A workflow that has passed this point already, with code that did not have
    the call, goes by `min`: it has asked for something since, or waits there or
    further on. A new one goes by `max`, which is recorded. When no
    workflow goes by `min` any more, raise it; the call may be removed when
    only one version is left.

    Args:
        change: names the change; the same name gives the same version everywhere in a workflow.
        min: the oldest version that this code still has.
        max: the newest.

    Raises:
        VersionError: the workflow recorded a version that this code no longer has.

    Example:
        >>> if workflows.get_version("charge-tax", 1, 2) >= 2:
        ...     await tax.run(order)
    """
    _checked_name("change", change)
    if min > max:
        raise ValueError(
            f"get_version({change!r}): min is {min} and max is {max}; the oldest version "
            f"comes first"
        )
    replay = active()
    return replay.get_version(change, min, max) if replay is not None else max


def sleep(duration: Duration) -> Coroutine[Any, Any, None]:
    """Sleeps durably: no worker is held, and a restart does not start it anew.

    0 and negative durations end at once and are recorded, unlike
    `asyncio.sleep(0)`, which only lets other tasks run.

    Example:
        >>> await workflows.sleep("24h")
    """
    delay_ms = max(0, milliseconds(duration, name="sleep", negative=True))
    replay = active()
    return (
        asyncio.sleep(delay_ms / 1000)
        if replay is None
        else cast("Coroutine[Any, Any, None]", replay.sleep(delay_ms))
    )


@overload
def wait_for_signal(
    name: str, type: type[T], *, timeout: Duration | None = None
) -> Coroutine[Any, Any, T]: ...
@overload
def wait_for_signal(
    name: str, type: Any = Any, *, timeout: Duration | None = None
) -> Coroutine[Any, Any, Any]: ...
def wait_for_signal(
    name: str, type: Any = Any, *, timeout: Duration | None = None
) -> Coroutine[Any, Any, Any]:
    """Waits for the next signal of a name and answers its payload.

    Signals are buffered from the start and taken in the order in which they
    came, each by one wait, in the order in which the waits were called.

    Args:
        name: of the signal.
        type: what to rebuild of the payload.
        timeout: how long to wait, durably. Default: for ever.

    Raises:
        SignalTimeout: none came in time. One that comes later is kept for the next wait.
        PayloadError: the payload does not fit the type.

    Example:
        >>> approval = await workflows.wait_for_signal("approved", Approval, timeout="24h")
    """
    _checked_name("name", name)
    delay_ms = (
        None if timeout is None else max(0, milliseconds(timeout, name="timeout", negative=True))
    )
    return cast(
        "Coroutine[Any, Any, Any]",
        _inside("wait_for_signal()").signals.wait(name, type, delay_ms),
    )


def send_signal(
    id: str, name: str, payload: Any = None, *, key: str | None = None
) -> Coroutine[Any, Any, Any]:
    """Sends a signal to a workflow.

    Inside a workflow it is a step with a key of its own, so that the signal is
    delivered once however often the workflow is replayed.

    Args:
        id: of the workflow.
        name: of the signal, 1 to 255 bytes.
        payload: any JSON value.
        key: delivers it once, however often it is sent with this key.

    Raises:
        ExecutionNotFound: outside a workflow, no execution has this id.
        ExecutionFinished: outside a workflow, it is over.
        StepError: inside a workflow, with one of these as its type.
    """
    _checked_name("name", name)
    replay = active()
    if replay is None:
        return home().signal(id, name, payload, key)
    return cast("Coroutine[Any, Any, Any]", replay.send_signal(id, name, payload, key))


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """Ends this run of the workflow, and goes on as a new one: the same id, an empty history.

    For workflows that go on for long: a history is replayed as a whole, and may
    have 50,000 events. `workflow_info().continue_as_new_suggested` says when.

    Signals that no wait has taken go over into the new run, in their order, and
    so do those that come meanwhile; so does what `set_state` published. Timers
    of this run end, and its children as at the end of a workflow, by their
    close policy. Whoever waits for the result gets that of the last run. The
    deadline stays. A workflow that was asked to stop does not go on.

    It raises, out of the workflow function: call it where no `finally` has
    anything durable left to do.

    Args:
        args: of the workflow's function, for the new run.
        kwargs: the same by name.

    Raises:
        TypeError: they do not fit the function's signature.
        PayloadError: one of them is not JSON.
        NotDurableError: called outside a workflow.

    Example:
        >>> if workflows.workflow_info().continue_as_new_suggested:
        ...     workflows.continue_as_new(cart)
    """
    raise _inside("continue_as_new()").continuation(args, kwargs)


async def get_state(id: str, type: Any = Any) -> Any:
    """Answers what a workflow published last with `set_state`, None if nothing yet.

    For code outside of workflows, activities and steps included.

    Args:
        id: of the workflow.
        type: what to rebuild of the state.

    Raises:
        ExecutionNotFound: no execution has this id.
        NotDurableError: called in the code of a workflow, where the answer would not be recorded.

    Example:
        >>> progress = await workflows.get_state(order_id, Progress)
    """
    refuse_inside("get_state()", "a signal from that workflow, or ask in a step")
    return adapt(await home().get_state(id), type, path="state")


def set_state(value: Any) -> None:
    """Publishes a JSON value as the workflow's state, for whoever looks at the execution.

    Raises:
        PayloadError: the value is not JSON.
        NotDurableError: called outside a workflow.
    """
    _inside("set_state()").set_state(value)


# What the engine has decided about a signal; sending it again would change nothing.
_REFUSALS = (
    ExecutionFinished,
    ExecutionNotFound,
    InvalidPayload,
    InvalidRequest,
    InvalidState,
    PayloadTooLarge,
)


async def _send(id: str, name: str, payload: Any, key: str) -> Any:
    return dict(await home().signal(id, name, payload, key))


signal_step: AsyncFunction[[str, str, Any, str], Any] = AsyncFunction(
    "step", _send, Options(name="workflows.send_signal", non_retryable=_REFUSALS)
)


def _inside(what: str) -> Replay:
    replay = active()
    if replay is None:
        raise NotDurableError(
            f"{what} only works in the code of a workflow, which a worker or workflows.testing runs"
        )
    return replay


def _checked_name(what: str, name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, not {name!r}")
    if not 1 <= len(name.encode("utf-8", "surrogatepass")) <= _MAX_NAME_BYTES:
        raise ValueError(f"{what} must have 1 to {_MAX_NAME_BYTES} bytes, not {name[:40]!r}")
