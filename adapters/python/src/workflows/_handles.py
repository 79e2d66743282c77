"""Handles: an execution that somebody holds on to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ._loop import refuse_inside
from ._outcomes import ExecutionCancelled, ExecutionFailed
from ._payload import adapt

if TYPE_CHECKING:
    from ._client import Client
    from ._operations import Change, Execution, Outcome, Sent, Status
    from ._settings import Duration

R = TypeVar("R")


def refuse_on_loop(what: str, instead: str) -> None:
    """Refuse a wait that would hold up an event loop.

    Raises:
        RuntimeError: one runs in this thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        f"{what} would block the event loop that runs in this thread, and a worker on it would"
        f" never get to finish; use `{instead}`"
    )


class Handle(Generic[R]):
    """An execution, to ask for its result, its status, or its end.

    It holds nothing but the id: make one with `Handle(id)` for an execution that was
    queued elsewhere.

    Args:
        id: the execution's.
        created: False when an idempotency key led to an execution that was there.
        client: through which to ask. Default `workflows.client()`.
        result_type: the annotation by which the result is rebuilt.

    Example:
        >>> handle = await order.queue("4242")
        >>> await handle.result(timeout="5m")
    """

    __slots__ = ("_client", "_result_type", "created", "id")

    def __init__(
        self,
        id: str,
        created: bool = True,
        client: Client | None = None,
        result_type: Any = Any,
    ) -> None:
        self.id = id
        self.created = created
        self._client = client
        self._result_type = result_type

    @property
    def client(self) -> Client:
        """The client through which it asks."""
        if self._client is None:
            from ._client import client

            self._client = client()
        return self._client

    async def result(
        self,
        timeout: Duration | None = None,  # noqa: ASYNC109  # what ends is the wait alone
    ) -> R:
        """Wait for the end and answer the result.

        Args:
            timeout: how long to wait. Default: for ever.

        Raises:
            ResultTimeout: it did not end in time. It goes on unharmed; ask again.
            ExecutionFailed: it failed; type, message and stack are the remote ones.
            ExecutionCancelled: it was cancelled or terminated.
            ExecutionNotFound: no execution has this id.
            PayloadError: the result does not fit the annotation.
        """
        return self.outcome(await self.client.wait(self.id, timeout))

    def result_sync(self, timeout: Duration | None = None) -> R:
        """Do what `result` does, blocking. Ctrl-C ends the wait, not the execution.

        Raises:
            NotDurableError: called inside a workflow.
            RuntimeError: it would block a running event loop; await `result()` there.
        """
        refuse_inside("result_sync()", "what `.run()` or `.queue()` answers there, and await it")
        refuse_on_loop("result_sync()", "await handle.result()")
        return self.outcome(self.client.wait_sync(self.id, timeout))

    def outcome(self, execution: Execution | Outcome) -> R:
        """Answer the result of an execution that has ended, or raise as `result` does."""
        if execution["status"] == "completed":
            return adapt(execution.get("result"), self._result_type, path="result")
        if execution["status"] == "failed":
            raise ExecutionFailed.of(cast("Any", execution.get("error")), self.id)
        error = cast("dict[str, Any]", execution.get("error") or {})
        reason = error.get("message") or "it was cancelled"
        raise ExecutionCancelled(f"execution {self.id} has no result: {reason}", self.id)

    async def status(self) -> Status:
        """Answer where it stands: pending, running, completed, ...

        Raises:
            ExecutionNotFound: no execution has this id.
        """
        return (await self.client.get(self.id))["status"]

    async def get_state(self, type: Any = Any) -> Any:
        """Answer what the workflow published last with `set_state`, None if nothing yet.

        Raises:
            ExecutionNotFound: no execution has this id.
            PayloadError: the state does not fit the type.
        """
        return adapt(await self.client.get_state(self.id), type, path="state")

    async def cancel(self, reason: str = "") -> Change:
        """Ask it to stop; see `Client.cancel`."""
        return await self.client.cancel(self.id, reason)

    async def terminate(self, reason: str = "") -> Change:
        """End it at once, without letting it clean up."""
        return await self.client.terminate(self.id, reason)

    async def signal(self, name: str, payload: Any = None, key: str | None = None) -> Sent:
        """Send it a signal; see `Client.signal`."""
        return await self.client.signal(self.id, name, payload, key)

    def __repr__(self) -> str:
        return f"Handle({self.id!r}, created={self.created})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)
