"""Replay: a workflow's history in, its commands out.

Events are applied one at a time in order of position, and after each the code
runs until it waits again. Live and replayed runs take the same path, so they
cannot differ: nothing is applied before it has come back as an event.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ._applying import HANDLERS
from ._calls import (
    Call,
    ChildHandle,
    ContinueAsNew,
    StepCall,
    Turn,
    cancellation_of,
    child_id,
    continuation_of,
    frozen,
    new_call,
    own,
    sequence_of,
    wake,
)
from ._cancelling import cancellation, is_deaf
from ._discard import discard
from ._errors import NotDurableError, VersionError
from ._failures import explained
from ._functions import Function
from ._history import COMMANDS, Event, History
from ._loop import WorkflowLoop, not_durable, place_of_wait
from ._payload import plain
from ._signals import Signals
from ._tasks import WorkflowTask, is_done
from ._wire_errors import exception_to_error

Json = dict[str, Any]


class Replay:
    """One workflow in memory."""

    __slots__ = (
        "_ahead",
        "_signals",
        "cancel_reason",
        "claimed",
        "commands",
        "discarded",
        "function",
        "history",
        "loop",
        "pending",
        "position",
        "root",
        "seed",
        "steps",
        "steps_dropped",
        "steps_running",
        "stop_reason",
        "timers",
    )

    def __init__(self, claimed: Mapping[str, Any], function: Function[..., Any]) -> None:
        self.claimed = claimed
        self.function = function
        self.history = History(claimed)
        self.loop = WorkflowLoop(self)
        self.root: WorkflowTask[Any] | None = None
        self.position = 0
        self.seed = int(claimed["id"][-12:], 16)
        # What the code has asked for and nobody has heard of yet, by sequence.
        self.commands: dict[int, Json] = {}
        self.steps: dict[int, StepCall] = {}
        self.steps_running: set[int] = set()
        self.steps_dropped: tuple[int, ...] = ()
        self.pending: dict[int, Call[Any]] = {}
        self.timers: dict[int, Callable[[], None]] = {}
        self.discarded = False
        self._signals: Signals | None = None
        # Why the workflow was asked to stop, until its code is told.
        self.cancel_reason: str | None = None
        self.stop_reason: str | None = None  # the same, and never forgotten
        self._ahead = 0

    @property
    def signals(self) -> Signals:
        """The signals, made when the first comes or is waited for: most workflows have none."""
        if self._signals is None:
            self._signals = Signals(self)
        return self._signals

    # --- events in ---

    def feed(self, events: Sequence[Event], outer: asyncio.AbstractEventLoop | None = None) -> None:
        """Applies what is new of these events, and runs the code after each.

        `outer` is the loop whose callback this is, if the caller knows it.
        """
        fresh = self.history.expect(events, self.position)
        if not fresh:
            return
        self._ahead = len(fresh)
        if self.cancel_reason is None and HANDLERS.keys().isdisjoint(
            [event["type"] for event in fresh]
        ):
            self._apply_all(fresh)  # no code runs on account of these
        else:
            self.loop.enter(outer)
            try:
                self._apply_all(fresh)
            finally:
                self.loop.leave()
        self.position = fresh[-1]["position"]
        self.history.live = True  # what comes from now on has never been seen before

    def _apply_all(self, fresh: Sequence[Event]) -> None:
        loop, history = self.loop, self.history
        for event in fresh:
            self._ahead -= 1
            history.happened(event)
            kind = event["type"]
            if history.recorded and kind in COMMANDS and event["sequence"] in history.recorded:
                self._missing(event)
            elif self.root is not None and is_done(self.root):
                self._too_late(event)
            elif (handler := HANDLERS.get(kind)) is not None:
                loop.ticks = 0
                handler(self, event)
            root = self.root
            if root is not None:
                loop.run_until_idle(root)
                if self.cancel_reason is not None:
                    self._cancel(root, self.cancel_reason)
                if history.fault is not None or loop.fatal is not None:
                    return

    def _too_late(self, event: Event) -> None:
        """The code has ended: a signal may be for the next run, and the rest is for nobody."""
        if event["type"] == "signal_received":
            self.signals.keep(event["name"], event.get("payload"), event["position"])

    def _cancel(self, root: WorkflowTask[Any], reason: str) -> None:
        """Cancels the code once, as soon as it would hear of it."""
        if not is_deaf(root):
            self.cancel_reason = None
            root.cancel(reason)
            self.loop.run_until_idle(root)

    # --- commands out ---

    def turn(self) -> Turn:
        """Answers what the code asks for now that it waits; the commands are handed over."""
        if self.history.fault is not None:
            return Turn("park", message=str(self.history.fault))
        root = self.root
        if root is None:
            return Turn("suspend")
        if self.loop.fatal is not None:
            return self._failure(self.loop.fatal)
        if root.done():
            return self._outcome(root)
        steps: list[StepCall] = []
        if self.steps:
            steps = [step for step in self.steps.values() if not step.call.done()]
            self.steps.clear()
            self.steps_running.update([step.call.sequence for step in steps])
        if not self.pending and not self.timers and not (self._signals and self._signals.awaited):
            return self._failure(not_durable(root))
        commands = self._handed_over() if self.commands else None
        return Turn("keep" if self.steps_running else "suspend", commands, steps)

    def _outcome(self, root: asyncio.Task[Any]) -> Turn:
        if self.history.recorded and not self._version_refused():
            last = min(self.history.recorded.values(), key=lambda event: event["position"])
            self._missing(last, ended=True)
            return Turn("park", message=str(self.history.fault))
        if root.cancelled():
            return self._failure(cancellation(root))
        error = root.exception()
        onward = None if error is None else continuation_of(error)
        if self.stop_reason is not None and (error is None or onward is not None):
            return self._failure(asyncio.CancelledError(self.stop_reason))  # it was swallowed
        if onward is not None:
            carried = self.signals.untaken
            following = {"args": onward.args_, "kwargs": onward.kwargs_, "carry": carried}
            return Turn("continue", self._handed_over(), next_run=following)
        if error is not None:
            return self._failure(explained(error))
        try:
            result = plain(root.result(), self.function.result_type, path="result")
        except Exception as error:  # a model's own code may have written it
            return self._failure(error)
        return Turn("complete", self._handed_over(), result=result)

    def _failure(self, error: BaseException) -> Turn:
        wire = exception_to_error(error)
        sequence = sequence_of(error)
        if sequence is not None:
            wire["sequence"] = sequence
        return Turn("fail", self._handed_over(), error=wire)

    def _handed_over(self) -> list[Json]:
        commands, self.commands = self.commands, {}
        return list(commands.values())

    def step_ended(self, sequence: int) -> None:
        """Notes that the outcome of a step is on its way into the history."""
        self.steps_running.discard(sequence)

    def discard(self) -> None:
        """Forgets the workflow without running its code. Never while one is stepped."""
        self.discarded = True
        self.loop.evicted = True
        for call in self.pending.values():
            call.drop()  # breaks the cycle through its waiter; nothing is stepped any more
        if self._signals is not None:
            self._signals.drop()
        self.pending.clear()
        self.timers.clear()
        self.steps.clear()
        discard(self.loop)
        self.root = None

    # --- determinism ---

    def _asked(self, kind: str, name: str) -> tuple[int, Event | None]:
        """The code asks for something: answers its sequence, and what history recorded of it."""
        self.loop.ticks = 0
        return self.history.next(kind, name)

    def _missing(self, event: Event, *, ended: bool = False) -> None:
        """Notes that the code has not asked for what history recorded next."""
        if self._version_refused():
            return
        root = self.root
        if ended or root is None or root.done():
            self.history.mismatch(event, "nothing, it ended")
        else:
            self.history.mismatch(event, "nothing, it waits", place_of_wait(root))

    def _version_refused(self) -> bool:
        """Whether the code ended for want of the recorded version, and not for want of commands."""
        root = self.root
        return (
            root is not None
            and root.done()
            and not root.cancelled()
            and isinstance(root.exception(), VersionError)
        )

    # --- what workflow code calls ---

    def continuation(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ContinueAsNew:
        """What ends this run and starts the next with other arguments."""
        positional, keywords = self.function.arguments(args, kwargs)
        return ContinueAsNew(frozen(positional), frozen(keywords))

    def call(
        self, function: Function[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Call[Any]:
        """A durable call: `.run()` inside a workflow."""
        if function.kind == "step":
            function.must_fit(args, kwargs)
            self.loop.ticks = 0
            sequence, recorded = self.history.next("step", function.name)
            call = self._pending(sequence, "step", function)
            if recorded is None and self.history.fault is None:
                args, kwargs = own(args) if args else args, own(kwargs) if kwargs else kwargs
                self.steps[sequence] = StepCall(call, function, args, kwargs)
            return call
        return self._schedule(function, args, kwargs)[0]

    def start(
        self, function: Function[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Call[Any]:
        """A child without waiting for it: `.queue()` inside a workflow."""
        if function.kind == "step":
            raise TypeError(
                f"{function.name} is a step, which runs inside its workflow and cannot be "
                f"queued; await .run(), or make it an activity"
            )
        call, id = self._schedule(function, args, kwargs, named=True)
        started = new_call(self, call.sequence, call.kind, call.name)
        started.set_result(ChildHandle(id, call))
        return started

    def _schedule(
        self,
        function: Function[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        named: bool = False,
    ) -> tuple[Call[Any], str]:
        options = function.options_set
        for option in ("idempotency_key", "signal"):
            if option in options:
                raise ValueError(
                    f"{option}= has no meaning for {function.name} inside a workflow: it is "
                    f"started once anyway, and its handle has signal()"
                )
        positional, keywords = function.arguments(args, kwargs)
        kind = "child" if function.kind == "workflow" else "activity"
        sequence, recorded = self._asked(kind, function.name)
        call = self._pending(sequence, kind, function)
        if recorded is not None:
            return call, cast("Json", recorded.get("payload") or {}).get("id", "")
        execution = function.request()
        execution.setdefault("queue", self.claimed.get("queue", "default"))
        if positional:
            execution["args"] = frozen(positional)
        if keywords:
            execution["kwargs"] = frozen(keywords)
        if named:
            execution["id"] = child_id(self.claimed, sequence, self.time())
        command: Json = {"type": "schedule", "sequence": sequence, "execution": execution}
        if "close_policy" in options:
            command["close_policy"] = options["close_policy"]
        self._emit(command)
        return call, execution.get("id", "")

    def _pending(self, sequence: int, kind: str, function: Function[..., Any]) -> Call[Any]:
        call = new_call(self, sequence, kind, function.name, function.result_type)
        self.pending[sequence] = call
        return call

    def _emit(self, command: Json) -> None:
        if self.history.fault is None:
            self.commands[command["sequence"]] = command

    def start_timer(self, delay: float, name: str, fire: Callable[[], None]) -> int:
        """Starts a durable timer and answers its sequence."""
        if not math.isfinite(delay):
            raise NotDurableError(
                f"a timer of {delay} seconds is none that could be recorded; to wait until "
                f"something happens, wait for a signal"
            )
        return self.timer(max(0, round(delay * 1000)), name, fire)

    def timer(self, delay_ms: int, name: str, fire: Callable[[], None]) -> int:
        """The same in milliseconds."""
        sequence, recorded = self._asked("timer", name)
        self.timers[sequence] = fire
        if recorded is None:
            self._emit(
                {"type": "start_timer", "sequence": sequence, "name": name, "delay_ms": delay_ms}
            )
        return sequence

    def cancel_timer(self, sequence: int) -> None:
        """Cancels a durable timer that has not fired."""
        if self.timers.pop(sequence, None) is not None:
            self.cancel(sequence)

    def cancel(self, sequence: int) -> None:
        """Gives the command to cancel what another started, unless its end is known already."""
        if sequence in self.history.ended:
            return
        unheard = self.commands.get(sequence)
        if unheard is not None and unheard["type"] != "cancel":
            del self.commands[sequence]  # nobody has heard of it yet
        else:
            self._emit({"type": "cancel", "sequence": sequence})

    def stop(self, call: Call[Any]) -> None:
        """Cancels what a call waits for, and ends the wait.

        At once, as whoever cancels a call goes on at once: history need not tell of an end
        that the code brought about, and of what was never started it never would.
        """
        del self.pending[call.sequence]
        self.cancel(call.sequence)
        call.fail(cancellation_of(call, None))

    def abandoned(self, call: Call[Any]) -> None:
        """The code cancelled a call."""
        if self.discarded:
            return
        if call.kind == "signal":
            self.signals.abandoned(call)
        elif call.kind == "timer":
            self.cancel_timer(call.sequence)
        elif self.pending.pop(call.sequence, None) is None:
            return
        elif call.kind != "step":
            self.cancel(call.sequence)
        elif call.sequence in self.steps_running:
            self.steps_running.discard(call.sequence)
            self.steps_dropped += (call.sequence,)

    def sleep(self, delay_ms: int) -> Call[None]:
        """A durable sleep; one of 0 is recorded as well."""
        call = new_call(self, 0, "timer", "sleep")
        call.sequence = self.timer(delay_ms, "sleep", lambda: wake(call))
        return call

    def send_signal(self, id: str, name: str, payload: Any, key: str | None) -> Call[Any]:
        """A signal to another workflow, as a step whose key makes a repetition harmless."""
        from ._workflow import signal_step

        key = key or f"{self.claimed['id']}:{self.history.origin}:{self.history.next_sequence()}"
        return self.call(signal_step, (id, name, frozen(plain(payload, path="payload")), key), {})

    def set_state(self, value: Any) -> None:
        """Publishes a state for whoever looks at the execution."""
        state = frozen(plain(value, path="state"))
        sequence, recorded = self._asked("state", "")
        if recorded is None:
            self._emit({"type": "set_state", "sequence": sequence, "state": state})

    def get_version(self, change: str, minimum: int, maximum: int) -> int:
        """The version of a change that this workflow goes by, one for all its life."""
        version, sequence = self.history.version(change, minimum, maximum)
        if sequence is not None:
            self._emit(
                {"type": "mark_version", "sequence": sequence, "name": change, "version": version}
            )
        return version

    def is_replaying(self) -> bool:
        """Whether history is still ahead of the code."""
        history, seen = self.history, self.claimed.get("seen")
        if history.live or history.goes_on:
            return not history.live
        # Events that came while nobody held the workflow have not been met by any code.
        return history.length <= seen if seen else self._ahead > 0

    def time(self) -> float:
        """The workflow's time, in seconds since 1970."""
        return self.history.time()
