"""What each event of a history does to the workflow that it is applied to.

Events without a function here record what the code has asked for: no code goes on for them.
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, cast

from ._calls import answering, cancellation_of, failure_of, raising
from ._history import Event
from ._payload import adapt

if TYPE_CHECKING:
    from ._replay import Replay

Json = dict[str, Any]


def _started(replay: Replay, event: Event) -> None:
    claimed, function = replay.claimed, replay.function
    args: list[Any] = claimed.get("args") or []
    kwargs: Json = claimed.get("kwargs") or {}
    try:
        if args or kwargs:
            args, kwargs = function.adapted(args, kwargs)
        value = contextvars.Context().run(function.plain, *args, **kwargs)
    except BaseException as error:
        value = raising(error)
    if type(value) is not types.CoroutineType and not asyncio.iscoroutine(value):
        value = answering(value)
    body = cast("Coroutine[Any, Any, Any]", value)
    replay.root = replay.loop.create_task(body, name=function.name, context=contextvars.Context())
    if replay.cancel_reason is not None:
        replay.root.cancel(replay.cancel_reason)  # before any of its code has run
        replay.cancel_reason = None


def _child_started(replay: Replay, event: Event) -> None:
    call = replay.pending.get(event["sequence"])
    if call is not None:
        call.id = cast("Json", event.get("payload") or {}).get("id", "")


def _completed(replay: Replay, event: Event) -> None:
    call = replay.pending.pop(event["sequence"], None)
    if call is None or call.done():
        return
    payload = event.get("payload")
    try:
        call.set_result(adapt(payload, call.result_type, path="result"))
    except Exception as error:
        call.fail(error)


def _failed(replay: Replay, event: Event) -> None:
    call = replay.pending.pop(event["sequence"], None)
    if call is not None and not call.done():
        error = failure_of(call, event.get("payload"))
        error.workflows_sequence = call.sequence  # type: ignore[attr-defined]
        call.fail(error)


def _cancelled(replay: Replay, event: Event) -> None:
    call = replay.pending.pop(event["sequence"], None)
    if call is not None and not call.done():
        call.fail(cancellation_of(call, event.get("payload")))


def _fired(replay: Replay, event: Event) -> None:
    fire = replay.timers.pop(event["sequence"], None)
    if fire is not None:
        fire()


def _timer_cancelled(replay: Replay, event: Event) -> None:
    replay.timers.pop(event["sequence"], None)


def _signalled(replay: Replay, event: Event) -> None:
    replay.signals.received(event["name"], event.get("payload"), event["position"])


def _cancel_requested(replay: Replay, event: Event) -> None:
    told = cast("Mapping[str, Any]", event.get("payload") or {})
    replay.stop_reason = told.get("message") or "the workflow was asked to stop"
    replay.cancel_reason = replay.stop_reason


HANDLERS: Mapping[str, Callable[[Replay, Event], None]] = {
    "started": _started,
    "child_started": _child_started,
    "activity_completed": _completed,
    "child_completed": _completed,
    "step_completed": _completed,
    "activity_failed": _failed,
    "child_failed": _failed,
    "step_failed": _failed,
    "activity_cancelled": _cancelled,
    "child_cancelled": _cancelled,
    "timer_fired": _fired,
    "timer_cancelled": _timer_cancelled,
    "signal_received": _signalled,
    "cancel_requested": _cancel_requested,
}
