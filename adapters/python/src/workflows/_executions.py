"""Executions that a worker holds: an attempt at a body, or a workflow that is advanced."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ._attempts import Attempt, Bodies, context_of, wire_error
from ._calls import StepCall
from ._errors import PayloadError, WorkflowsError
from ._failures import called, tell
from ._functions import Function
from ._operations import Operation
from ._outbox import Outbox
from ._payload import encode, plain
from ._replay import Replay, Turn
from ._steps import run_step, stop_step, unheard

log = logging.getLogger("workflows")

Json = dict[str, Any]

_LONG = 1.0  # of workflow code between two waits, in seconds
_OVER = {"lease_lost", "execution_finished", "execution_not_found", "closed"}


class Home(Protocol):
    """What an execution needs of its worker."""

    loop: asyncio.AbstractEventLoop
    outbox: Outbox
    bodies: Bodies
    context: contextvars.Context

    def freed(self, held: Held) -> None:
        """The execution is no longer held."""
        ...

    def suspended(self, held: HeldWorkflow) -> None:
        """The workflow waits for an event, and is no longer held."""
        ...

    def soon(self, call: Callable[[], None]) -> None:
        """Calls from a callback of the loop, outside any task and in an empty context."""
        ...

    def report(self, held: Held, details: Any) -> None:
        """Sends an attempt's progress."""
        ...

    async def history(self, claimed: Mapping[str, Any]) -> list[Json]:
        """Reads the events that a claim left out."""
        ...

    async def record(self, held: Held, details: Any) -> None:
        """Sends an attempt's last progress, and waits until it is recorded."""
        ...


class Held:
    """An execution under a lease."""

    __slots__ = ("claimed", "function", "head", "home", "id", "lease", "lost")

    def __init__(
        self, home: Home, claimed: Mapping[str, Any], function: Function[..., Any] | None
    ) -> None:
        self.home = home
        self.claimed = claimed
        self.function = function
        self.id: str = claimed["id"]
        self.lease: Json = claimed["lease"]
        # How the items of all its writes begin, in JSON. The token is a uuid.
        epoch, token = self.lease["epoch"], self.lease["token"]
        self.head = f'{{"id":"{self.id}","lease":{{"epoch":{epoch},"token":"{token}"}}'
        self.lost = False

    def begin(self) -> None:
        """Starts the work. A function that this worker lacks is put back, for another one."""
        if self.function is None:
            log.warning(
                "no %s %r is registered in this worker, so %s is put back; "
                "import its module with -m, or serve its queue elsewhere",
                self.claimed["kind"],
                self.claimed["name"],
                self.id,
            )
            self.release("no_function")
            return
        try:
            self._begin(self.function)
        except Exception:
            self.broken("begin")

    def _begin(self, function: Function[..., Any]) -> None:
        raise NotImplementedError

    def notice(self, notice: Mapping[str, Any]) -> None:
        """Takes in what pull_events told about the lease."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Stops at the end of a drain; the worker's end releases the lease."""
        raise NotImplementedError

    def release(self, reason: str, message: str = "") -> None:
        """Puts the execution back without an outcome."""
        item = f'{self.head},"reason":"{reason}"'
        if message:
            item += f',"message":{encode(message)}'
        self.home.outbox.add(Operation.RELEASE, item + "}", self._written)

    def broken(self, what: str) -> None:
        """The adapter itself failed: the execution goes to another worker, with back-off."""
        log.exception(
            "%s of %s %s failed inside the adapter; it is put back",
            what,
            self.claimed["name"],
            self.id,
        )
        self.release("no_function")

    def _written(self, ok: Any, error: WorkflowsError | None) -> None:
        """The last write was answered."""
        self._ended(error)

    def _ended(self, error: WorkflowsError | None = None) -> None:
        if error is not None:
            log.log(
                logging.INFO if error.code in _OVER else logging.ERROR,
                "the outcome of %s %s was not taken: %s",
                self.claimed["name"],
                self.id,
                error,
            )
        self.lost = True
        self.home.freed(self)


class HeldAttempt(Held):
    """A job or an activity: one attempt at its body."""

    __slots__ = ("attempt", "task")

    def __init__(
        self, home: Home, claimed: Mapping[str, Any], function: Function[..., Any] | None
    ) -> None:
        super().__init__(home, claimed, function)
        self.attempt = Attempt(claimed, self._report)
        self.task: asyncio.Task[None] | None = None

    def _report(self, details: Any) -> None:
        """Reports progress, from the loop or from a thread."""
        self.home.loop.call_soon_threadsafe(self.home.report, self, details)

    def _begin(self, function: Function[..., Any]) -> None:
        if self.claimed.get("cancel_requested"):
            self.attempt.stop("cancel")
        context = context_of(self.attempt, self.home.context)
        # With a name, since to make one up takes asyncio longer.
        self.task = self.attempt.runner = self.home.loop.create_task(
            self._run(function), name=function.name, context=context
        )

    async def _run(self, function: Function[..., Any]) -> None:
        attempt, claimed = self.attempt, self.claimed
        timeout_ms = claimed.get("attempt_timeout_ms")
        ok, value = False, asyncio.CancelledError("it was cancelled before it began")
        if attempt.reason is None:
            try:
                args: list[Any] = claimed.get("args") or []
                kwargs: Json = claimed.get("kwargs") or {}
                if args or kwargs:
                    args, kwargs = function.adapted(args, kwargs)
            except Exception as error:
                ok, value = False, error
            else:
                ok, value = await self.home.bodies.run(
                    function, args, kwargs, attempt, timeout_ms / 1000 if timeout_ms else None
                )
        if not ok and attempt.reported and not self.lost:
            # The next attempt reads it, and after the failure it would be refused.
            await self.home.record(self, attempt.progress)
        if attempt.reason == "lost":
            self._ended()
        elif attempt.reason != "stop" or ok:
            self._finish(function, ok, value)

    def _finish(self, function: Function[..., Any], ok: bool, value: Any) -> None:
        if ok:
            try:
                value = plain(value, function.result_type, path="result")
            except Exception as error:  # a model's own code may have written it
                ok, value = False, error
        if ok:
            self._complete(value)
            return
        error = wire_error(value, self.claimed.get("retry"))
        if self.attempt.reason != "cancel":
            tell(called(self.claimed), error, self.claimed["attempt"])
        self._fail(error)

    def _complete(self, value: Any) -> None:
        try:
            result = encode(value, "result")
        except PayloadError as error:
            self._completed(None, error)
            return
        item = f'{self.head},"result":{result}}}'
        self.home.outbox.add(Operation.COMPLETE_EXECUTION, item, self._completed)

    def _fail(self, error: Json) -> None:
        item = f'{self.head},"error":{encode(error)}}}'
        self.home.outbox.add(Operation.FAIL_EXECUTION, item, self._written)

    def _completed(self, ok: Any, error: WorkflowsError | None) -> None:
        """Ends it; a result that the engine refused, too large perhaps, is the failure then."""
        if error is not None and error.code not in _OVER:
            self._fail({**wire_error(error, None), "non_retryable": True})
        else:
            self._ended(error)

    def notice(self, notice: Mapping[str, Any]) -> None:
        """Stops the body."""
        if notice.get("lost"):
            log.warning(
                "the lease of %s %s was lost; what its body still does is dropped",
                self.claimed["name"],
                self.id,
            )
            self.lost = True
            self.attempt.stop("lost")
        elif notice.get("cancel_requested"):
            self.attempt.stop(
                "cancel", interrupt=self.function is not None and self.function.is_async
            )

    def interrupt(self) -> None:
        """Stops the body."""
        self.attempt.stop("stop")

    def _ended(self, error: WorkflowsError | None = None) -> None:
        self.attempt.ended()
        self.task = None
        super()._ended(error)


class HeldWorkflow(Held):
    """A workflow: its code is advanced, one write at a time, and its steps run here."""

    __slots__ = ("news", "outcomes", "reading", "replay", "sent", "steps")

    def __init__(
        self,
        home: Home,
        claimed: Mapping[str, Any],
        function: Function[..., Any] | None,
        warm: Replay | None,
    ) -> None:
        super().__init__(home, claimed, function)
        self.replay = warm
        self.reading: asyncio.Task[None] | None = None
        # The outcomes of steps that are to be written, in JSON.
        self.outcomes = ""
        # What the write asks for whose answer is awaited.
        self.sent: Turn | None = None
        # An answer is awaited: of news, or that it has started at all.
        self.news: bool = claimed.get("early", False)
        self.steps: dict[int, tuple[asyncio.Task[None], Attempt]] = {}

    def _begin(self, function: Function[..., Any]) -> None:
        if self.replay is None and self.claimed.get("after"):
            self.reading = self.home.loop.create_task(self._read(function))
        else:
            self._resume(function, self.claimed.get("events") or ())

    async def _read(self, function: Function[..., Any]) -> None:
        """Fetches what the claim left out for a worker that has forgotten the workflow since."""
        try:
            events = await self.home.history(self.claimed)
        except WorkflowsError as error:
            if not self.lost:
                log.error("the history of %s could not be read: %s", self.id, error)
                self.release("drain")
            return
        # From a callback: workflow code must not run inside a task of this loop.
        self.home.loop.call_soon(self._resume_read, function, events, context=contextvars.Context())

    def _resume_read(self, function: Function[..., Any], events: Sequence[Json]) -> None:
        if self.lost:
            return
        try:
            self._resume(function, [*events, *(self.claimed.get("events") or ())])
        except Exception:
            self.broken("begin")

    def _resume(self, function: Function[..., Any], events: Sequence[Json]) -> None:
        if self.replay is None:
            self.replay = Replay(self.claimed, function)
        self._feed(self.replay, events)
        self._advance()

    def _feed(self, replay: Replay, events: Sequence[Json]) -> None:
        began = time.monotonic()
        replay.feed(events, self.home.loop)
        if (took := time.monotonic() - began) > _LONG:
            log.warning(
                "the code of %s held the event loop for %.1f s, and all else on this worker with "
                "it; what blocks or computes for long belongs in an activity or a step",
                called(self.claimed),
                took,
            )

    def _go_on(self) -> None:
        """Advances from a callback, where nobody else would notice that the adapter failed."""
        try:
            self._advance()
        except Exception:
            self.broken("advance")

    def _advance(self) -> None:
        """Sends what the code asks for, unless there is nothing to send or an answer is awaited."""
        replay = self.replay
        if self.sent is not None or self.lost or replay is None:
            return
        turn = replay.turn()
        if replay.steps_dropped:
            self._stop_steps(replay)
        if turn.then == "park":
            log.error("%s", turn.message)
            self.release("non_determinism", turn.message)
        elif turn.then == "keep" and not turn.commands and not self.outcomes and not self.news:
            self._start_steps(turn.steps)
        else:
            self._send(replay, turn)

    def _send(self, replay: Replay, turn: Turn) -> None:
        try:
            item = self._item(replay, turn)
        except PayloadError as error:
            self._refused(replay, turn, error)
            return
        if turn.then == "fail":
            tell(called(self.claimed), turn.error or {})
        self.sent, self.news = turn, False
        self.home.outbox.add(Operation.ADVANCE_WORKFLOW, item, self._answered)

    def _item(self, replay: Replay, turn: Turn) -> str:
        """Answers what is to be written, in JSON."""
        then = turn.then
        item = f'{self.head},"position":{replay.position},"then":"{then}"'
        if self.outcomes:
            item += f',"events":[{self.outcomes}]'
            self.outcomes = ""
        if turn.commands:
            item += f',"commands":{encode(turn.commands, "commands")}'
        if then == "complete":
            item += f',"result":{encode(turn.result, "result")}'
        elif then == "continue":
            item += f",{encode(turn.next_run)[1:-1]}"
        elif then == "fail":
            item += f',"error":{encode(turn.error, "error")}'
        return item + "}"

    def _answered(self, ok: Json | None, error: WorkflowsError | None) -> None:
        turn, self.sent = self.sent, None
        replay = self.replay
        if replay is None or self.lost or turn is None:
            self._ended()
        elif ok is None:
            self._refused(replay, turn, error)
        elif ok["status"] == "suspended":
            self._suspended(replay, ok)
        elif ok["status"] != "running":
            self._ended()
        else:
            try:
                if turn.steps:
                    self._start_steps(turn.steps)
                self._feed(replay, ok.get("events") or ())
                self._advance()
            except Exception:
                self.broken("advance")

    def _suspended(self, replay: Replay, ok: Json) -> None:
        try:
            replay.feed(
                ok.get("events") or (), self.home.loop
            )  # what it asked for: the next claim leaves it out
        except Exception:
            log.exception("workflow %s is not kept in memory", self.id)
            self.drop()
        self.lost = True
        self.home.suspended(self)

    def _refused(self, replay: Replay, turn: Turn, error: WorkflowsError | None) -> None:
        """A command or a result that the engine does not take is the workflow's failure."""
        if error is None or error.code in _OVER or turn.then == "fail":
            self._ended(error)
            return
        # Its commands are gone, so the code must not go on, whatever comes in before the end.
        replay.loop.fatal = error
        self._send(replay, Turn("fail", error={**wire_error(error, None), "non_retryable": True}))

    # --- steps ---

    def _start_steps(self, steps: Sequence[StepCall]) -> None:
        home = self.home
        for step in steps:
            if step.call.done():
                continue
            attempt = Attempt(self.claimed, unheard)
            attempt.runner = task = home.loop.create_task(
                run_step(home.bodies, step, attempt, self._step_ended),
                name=step.function.name,
                context=context_of(attempt, home.context),
            )
            self.steps[step.call.sequence] = task, attempt

    def _step_ended(self, step: StepCall, attempt: Attempt, ok: bool, payload: str) -> None:
        sequence = step.call.sequence
        if self.steps.pop(sequence, None) is None:
            return  # nobody waits for it any more
        if attempt.is_given_up or self.lost:
            return
        step.call.replay.step_ended(sequence)
        if self.outcomes:
            self.outcomes += ","
        self.outcomes += (
            f'{{"type":"{"step_completed" if ok else "step_failed"}","sequence":{sequence},'
            f'"name":{step.function.quoted_name},"payload":{payload}}}'
        )
        self.home.soon(self._go_on)

    def _stop_steps(self, replay: Replay) -> None:
        """Cancels the bodies of steps that the code has cancelled."""
        dropped, replay.steps_dropped = replay.steps_dropped, ()
        for sequence in reversed(dropped):
            running = self.steps.pop(sequence, None)
            if running is not None:
                stop_step("cancel", *running)

    # --- the end ---

    def notice(self, notice: Mapping[str, Any]) -> None:
        """Drops a lost workflow, or fetches its new events."""
        if notice.get("lost"):
            log.warning(
                "the lease of workflow %s %s was lost; it goes on elsewhere",
                self.claimed["name"],
                self.id,
            )
            self._ended()
            return
        self.news = True
        if self.sent is None:
            self._go_on()

    def interrupt(self) -> None:
        """Stops the steps."""
        self._ended()

    def release(self, reason: str, message: str = "") -> None:
        """Puts the workflow back without an outcome."""
        self.drop()
        super().release(reason, message)

    def _ended(self, error: WorkflowsError | None = None) -> None:
        self.drop()
        super()._ended(error)

    def drop(self) -> None:
        """Forgets the code and cancels the bodies of its steps."""
        for running in self.steps.values():
            stop_step("lost", *running)
        self.steps.clear()
        if self.reading is not None:
            self.reading.cancel()
        replay, self.replay = self.replay, None
        if replay is not None:
            replay.discard()
