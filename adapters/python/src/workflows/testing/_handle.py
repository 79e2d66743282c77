"""Handles of executions in an environment."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .._functions import Function
from .._handles import Handle
from .._operations import Change, Event, Execution, Operation, Sent, Status
from .._payload import adapt, plain
from .._settings import Duration
from .._wire_errors import fault_to_exception
from ._rows import ABSENT, Row

if TYPE_CHECKING:
    from ._runner import Runner

R = TypeVar("R")
S = TypeVar("S")


class EnvironmentHandle(Generic[R]):
    """An execution in an environment: what is asked of it is answered at once.

    It has what `workflows.Handle` has, without `await`, and what a test wants beside that.
    In async code await the handle itself instead of `result()`.

    Attributes:
        id: the execution's.
        created: False when an idempotency key led to an execution that was there.

    Example:
        >>> handle = env.start(order, "4242")
        >>> handle.signal("approved", True, after="2h")
        >>> assert handle.result() == "paid"
    """

    def __init__(
        self, runner: Runner, id: str, created: bool = True, result_type: Any = Any
    ) -> None:
        self.id = id
        self.created = created
        self._runner = runner
        self._handle: Handle[R] = Handle(id, created, runner.client, result_type)

    # --- how it ends ---

    def result(self, timeout: Duration | None = None) -> R:
        """Runs until the execution has ended, and answers its result.

        Args:
            timeout: how long to wait, in the environment's time. Default: for ever.

        Raises:
            ExecutionFailed: it failed; type, message and stack are those of the code.
            ExecutionCancelled: it was cancelled or terminated.
            ResultTimeout: it did not end in time.
            Stuck: nothing can run and nothing is due; the message says what it waits for.
            Endless: it does not come to an end.
            NonDeterminismError: its code did something else when it was replayed.
        """
        return self._runner.drive(self._handle.result(timeout), "await handle")

    def __await__(self) -> Generator[Any, Any, R]:
        return self._handle.result().__await__()

    # --- what is known of it ---

    @property
    def _row(self) -> Row:
        return self._runner.engine.rows[self.id]

    def status(self) -> Status:
        """Answers where it stands: pending, running, suspended, completed, ..."""
        return self._row.status

    def get_state(self, type: Any = Any) -> Any:
        """Answers what the workflow's `set_state` has published last, or None.

        Args:
            type: what to rebuild of it.
        """
        state = self._row.state
        return None if state is ABSENT else adapt(state, type, path="state")

    def history(self, run: int | None = None) -> list[Event]:
        """Answers the events of a workflow, by default those of the present run."""
        request = {"id": self.id, "run": run or 0, "limit": 10_000}
        events: list[Event] = []
        while True:
            reply = self._perform(Operation.GET_HISTORY, {**request, "after": len(events)})
            events += reply["events"]
            if not reply.get("more"):
                return events

    def execution(self) -> Execution:
        """Answers all that is known of it, as `Client.get` does."""
        return self._perform(Operation.GET_EXECUTION, {"id": self.id})

    @property
    def run(self) -> int:
        """Which go it is: continuing as new and retrying begin the next one."""
        return self._row.run

    def waits_for(self, signal: str) -> bool:
        """Says whether the workflow's code waits for this signal now."""
        return self._row.is_workflow and signal in self._runner.waits.signals(self._row)

    def children(self) -> list[EnvironmentHandle[Any]]:
        """Answers what the workflow has started: activities, jobs and workflows, in order."""
        return [EnvironmentHandle(self._runner, child.id) for child in self._row.children]

    @overload
    def child(self, function: Function[..., S], nth: int = 1) -> EnvironmentHandle[S]: ...
    @overload
    def child(self, function: str, nth: int = 1) -> EnvironmentHandle[Any]: ...
    def child(self, function: Function[..., Any] | str, nth: int = 1) -> EnvironmentHandle[Any]:
        """Answers what the workflow has started of one function.

        Args:
            function: the function, or its name.
            nth: which of them, from 1.

        Raises:
            LookupError: it has not started so many.
        """
        name = function if isinstance(function, str) else function.name
        found = [child for child in self._row.children if child.name == name]
        if len(found) < nth:
            raise LookupError(f"{self._row.name} has started {len(found)} of {name}")
        kind = Any if isinstance(function, str) else function.result_type
        return EnvironmentHandle(self._runner, found[nth - 1].id, True, kind)

    # --- what is done to it ---

    def signal(
        self,
        name: str,
        payload: Any = None,
        key: str | None = None,
        *,
        after: Duration | None = None,
        when: Callable[[], bool] | None = None,
    ) -> Sent | None:
        """Sends a signal: now, after a time, or as soon as a condition holds.

        Args:
            name: of the signal.
            payload: any JSON value.
            key: delivers it once, however often it is sent with this key.
            after: how long from now, in the environment's time.
            when: asked whenever something has happened; with `after` from then on.

        Raises:
            ExecutionFinished: the workflow has ended. When it was sent later, whoever waits then
                gets the error.
            PayloadError: the payload is not JSON.

        Example:
            >>> handle.signal("approved", True, when=lambda: handle.waits_for("approved"))
        """
        item = {"id": self.id, "name": name, "payload": plain(payload, path="payload")}
        if key is not None:
            item["idempotency_key"] = key
        return self._planned(Operation.SEND_SIGNAL, item, after, when)

    def cancel(
        self,
        reason: str = "",
        *,
        after: Duration | None = None,
        when: Callable[[], bool] | None = None,
    ) -> Change | None:
        """Asks it to stop: now, after a time, or as soon as a condition holds."""
        item = {"id": self.id, "reason": reason}
        return self._planned(Operation.CANCEL_EXECUTION, item, after, when)

    def terminate(
        self,
        reason: str = "",
        *,
        after: Duration | None = None,
        when: Callable[[], bool] | None = None,
    ) -> Change | None:
        """Ends it at once, without letting it clean up: now, after a time, or on a condition."""
        item = {"id": self.id, "reason": reason}
        return self._planned(Operation.TERMINATE_EXECUTION, item, after, when)

    def retry(self) -> Change:
        """Runs it again after it failed or was cancelled; a workflow goes on from its history."""
        return self._act(Operation.RETRY_EXECUTION, {"id": self.id})

    def resume(self) -> Change:
        """Wakes a workflow that was parked because its code did not fit its history."""
        return self._act(Operation.RESUME_WORKFLOW, {"id": self.id})

    def _planned(
        self,
        operation: Operation,
        item: dict[str, Any],
        after: Duration | None,
        when: Callable[[], bool] | None,
    ) -> Any:
        act = partial(self._act, operation, item)
        if after is not None:
            later, act = act, lambda: self._runner.waiting.after(after, later)
        if when is not None:
            self._runner.waiting.when(when, act)
            return None
        return act()

    def _act(self, operation: Operation, item: dict[str, Any]) -> Any:
        [result] = self._perform(operation, {"items": [item]})["results"]
        if "ok" in result:
            return result["ok"]
        raise fault_to_exception(result["error"])

    def _perform(self, operation: Operation, request: dict[str, Any]) -> Any:
        return self._runner.perform(operation, request)

    def __repr__(self) -> str:
        row = self._row
        return f"<{row.kind} {row.name} {self.id}: {row.status}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EnvironmentHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)
