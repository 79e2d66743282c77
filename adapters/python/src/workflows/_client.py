"""The client: everything that can be done to executions from outside."""

from __future__ import annotations

import asyncio
import builtins
import threading
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast
from uuid import UUID

from . import _operations as operations
from ._engine import Engine
from ._errors import WorkflowsError
from ._operations import (
    Change,
    Created,
    Event,
    Execution,
    ListExecutionsReply,
    ListExecutionsRequest,
    MigrateReply,
    NewExecution,
    Operation,
    Sent,
    Signal,
    StatsReply,
    TargetsRequest,
)
from ._outcomes import ResultTimeout
from ._payload import encoded, plain
from ._settings import Duration, seconds
from ._wire_errors import fault_to_exception

_T = TypeVar("_T")

_POLL = 30.0  # the longest that one wait_execution waits, in seconds
_POLL_MS = round(_POLL * 1000)
_PATIENCE = 60.0  # how long a wait bears a database that is away, in seconds
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_FINAL = frozenset({"completed", "failed", "cancelled"})


class _Caller(operations.Caller, Protocol):
    async def pause(self, duration: float) -> None: ...


class _OnLoop:
    """Calls for code that runs on an asyncio loop."""

    def __init__(self, engine: Engine) -> None:
        self.call = engine.channel().call

    async def pause(self, duration: float) -> None:
        await asyncio.sleep(duration)


class _Blocking:
    """The same calls for code that does not: their coroutines never suspend."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        return self._engine.call(operation, request)

    async def pause(self, duration: float) -> None:
        time.sleep(duration)  # noqa: ASYNC251  # blocking is the purpose


def _finish(coroutine: Coroutine[Any, Any, _T]) -> _T:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("a blocking call suspended")


class Client:
    """Talks to the executions of one database.

    Engines are shared: making a client costs nothing, and the connection is made at
    its first call. Methods named `..._sync` block, for code without an event loop.
    Inside a workflow use the functions of `workflows` instead, which are recorded.

    Args:
        url: of the database; `embedded:` or `embedded:PATH` for a private one.
            Default `WORKFLOWS_DATABASE_URL`, then `embedded:`.
        schema: default `WORKFLOWS_SCHEMA`, then "workflows".
        config: what else the library's Config has, such as `pool_size`.

    Example:
        >>> async with Client("postgres:///app") as client:
        ...     print((await client.stats())["queues"])
    """

    def __init__(self, url: str | None = None, *, schema: str | None = None, **config: Any) -> None:
        self._url = url
        self._config = config if schema is None else {"schema": schema, **config}
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The engine behind this client."""
        if (engine := self._engine) is not None:
            return engine
        with self._lock:
            if self._engine is None:
                self._engine = Engine.shared(self._url, **self._config)
            return self._engine

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)

    def close(self, grace: float = 1.0) -> None:
        """Give the engine back; it closes when nobody else in this process uses it.

        The client connects anew when it is used again.

        Args:
            grace: in seconds, for calls that are still in flight. Blocks that long at most.
        """
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close(grace)

    def _loop(self) -> _OnLoop:
        return _OnLoop(self.engine)

    def _here(self) -> _Blocking:
        return _Blocking(self.engine)

    # --- making executions ---

    async def create(self, new_executions: Iterable[Mapping[str, Any]]) -> builtins.list[Created]:
        """Create executions, all of them or none.

        Usually `function.queue()` does this. An idempotency key that is taken answers
        the first execution's id, with `created` False.

        Args:
            new_executions: up to 10,000; see NewExecution. Payloads must be plain JSON.

        Raises:
            WorkflowsError: none of them was created.

        Example:
            >>> [created] = await client.create([{"kind": "job", "name": "mail"}])
        """
        return await _create(self._loop(), new_executions)

    def create_sync(self, new_executions: Iterable[Mapping[str, Any]]) -> builtins.list[Created]:
        """Do what `create` does, blocking."""
        return _finish(_create(self._here(), new_executions))

    async def create_and_wait(self, new_execution_json: str) -> Created:
        """Create an execution and wait for its end, as `function.run()` does.

        For half a minute at most: `outcome` is there if it has ended by then.
        """
        request = encoded(f'{{"items":[{new_execution_json}],"wait_ms":{_POLL_MS}}}')
        reply = await self.engine.channel().perform(Operation.CREATE_EXECUTION, request)
        return reply["results"][0]

    # --- looking ---

    async def get(self, id: str | UUID) -> Execution:
        """Answer an execution as it stands now.

        Raises:
            ExecutionNotFound: no execution has this id.
        """
        return await operations.get_execution(self._loop(), {"id": str(id)})

    def get_sync(self, id: str | UUID) -> Execution:
        """Do what `get` does, blocking."""
        return _finish(operations.get_execution(self._here(), {"id": str(id)}))

    async def get_state(self, id: str | UUID) -> Any:
        """Answer what a workflow published last with `set_state`, None if nothing yet.

        It can be read at any time: before the workflow runs, while it runs or waits, and
        when it is over. What it sets is there once it waits for something.

        Raises:
            ExecutionNotFound: no execution has this id.
        """
        return (await self.get(id)).get("state")

    def get_state_sync(self, id: str | UUID) -> Any:
        """Do what `get_state` does, blocking."""
        return self.get_sync(id).get("state")

    async def wait(
        self,
        id: str | UUID,
        timeout: Duration | None = None,  # noqa: ASYNC109  # what ends is the wait alone
    ) -> Execution:
        """Wait for the end of an execution and answer it, however it ended.

        A database that is away for less than a minute is waited for.

        Args:
            id: the execution's.
            timeout: how long to wait. Default: for ever.

        Raises:
            ResultTimeout: it did not end in time. It goes on unharmed.
            ExecutionNotFound: no execution has this id.
        """
        return await _wait(self._loop(), str(id), timeout)

    def wait_sync(self, id: str | UUID, timeout: Duration | None = None) -> Execution:
        """Do what `wait` does, blocking. Ctrl-C ends it."""
        return _finish(_wait(self._here(), str(id), timeout))

    async def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        kind: str | None = None,
        name: str | None = None,
        queue: str | None = None,
        parent_id: str | UUID | None = None,
        root_id: str | UUID | None = None,
        parked: bool = False,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ListExecutionsReply:
        """Answer a page of executions, the newest first.

        A page may be short of `limit` and still have a cursor: each call looks at a
        bounded number of rows. Only a page without a cursor is the last.

        Args:
            status: one or several of the states.
            kind: job, activity or workflow.
            name: of the function.
            queue: its name.
            parent_id: only children of this execution.
            root_id: only this execution and what came of it.
            parked: only what waits for somebody to look at it.
            limit: 1 to 1000, default 100.
            cursor: from the last page.

        Example:
            >>> page = await client.list(status="failed", queue="mail")
            >>> [execution["id"] for execution in page["executions"]]
        """
        request: dict[str, Any] = {
            "status": [status] if isinstance(status, str) else status,
            "kind": kind,
            "name": name,
            "queue": queue,
            "parent_id": parent_id and str(parent_id),
            "root_id": root_id and str(root_id),
            "parked": parked or None,
            "limit": limit,
            "cursor": cursor,
        }
        request = {name: value for name, value in request.items() if value is not None}
        return await operations.list_executions(
            self._loop(), cast("ListExecutionsRequest", request)
        )

    async def history(
        self, id: str | UUID, *, run: int | None = None, after: int = 0
    ) -> builtins.list[Event]:
        """Answer the history of a workflow, in order of position.

        Args:
            id: the workflow's.
            run: which go of it; default the current one.
            after: leave out the events up to this position.

        Raises:
            ExecutionNotFound: no execution has this id.
        """
        caller = self._loop()
        events: builtins.list[Event] = []
        while True:
            reply = await operations.get_history(
                caller, {"id": str(id), "run": run or 0, "after": after}
            )
            events += reply["events"]
            if not reply.get("more") or not reply["events"]:
                return events
            run, after = reply["run"], reply["events"][-1]["position"]

    async def stats(self) -> StatsReply:
        """Answer how the system stands: queues with counts, workers, versions."""
        return await operations.stats(self._loop(), {})

    # --- acting ---

    async def cancel(self, id: str | UUID, reason: str = "") -> Change:
        """Ask an execution to stop, and what came of it with it.

        One that waits is cancelled at once. A running one is only asked: it may clean
        up first, and what it has already sent out cannot be called back. Cancelling a
        finished one changes nothing and says so.

        Args:
            id: the execution's.
            reason: for whoever reads it later.

        Raises:
            ExecutionNotFound: no execution has this id.
        """
        return await _change(self._loop(), operations.cancel_execution, id, reason)

    def cancel_sync(self, id: str | UUID, reason: str = "") -> Change:
        """Do what `cancel` does, blocking."""
        return _finish(_change(self._here(), operations.cancel_execution, id, reason))

    async def terminate(self, id: str | UUID, reason: str = "") -> Change:
        """End an execution at once, without letting it clean up.

        Raises:
            ExecutionNotFound: no execution has this id.
        """
        return await _change(self._loop(), operations.terminate_execution, id, reason)

    async def retry(self, id: str | UUID, reason: str = "") -> Change:
        """Run a failed or cancelled execution again; a workflow goes on from its history.

        A parked workflow goes on as with `resume`.

        Raises:
            ExecutionNotFound: no execution has this id.
            InvalidState: it has not ended in a way that can be retried.
        """
        return await _change(self._loop(), operations.retry_execution, id, reason)

    async def resume(self, id: str | UUID, reason: str = "") -> Change:
        """Wake a parked workflow, as after putting the code that it needs back.

        Raises:
            ExecutionNotFound: no execution has this id.
        """
        return await _change(self._loop(), operations.resume_workflow, id, reason)

    async def signal(
        self, id: str | UUID, name: str, payload: Any = None, key: str | None = None
    ) -> Sent:
        """Send a signal to a workflow; it is kept until the workflow waits for it.

        Args:
            id: the workflow's.
            name: of the signal.
            payload: any JSON value.
            key: delivers it once, however often it is sent to the same workflow.

        Raises:
            ExecutionNotFound: no execution has this id.
            ExecutionFinished: the workflow has ended.
            PayloadError: the payload is not JSON.
        """
        return await _signal(self._loop(), id, name, payload, key)

    def signal_sync(
        self, id: str | UUID, name: str, payload: Any = None, key: str | None = None
    ) -> Sent:
        """Do what `signal` does, blocking."""
        return _finish(_signal(self._here(), id, name, payload, key))

    async def migrate(self, *, roles: str = "") -> MigrateReply:
        """Bring the schema up to date; safe from many processes at once.

        Args:
            roles: how the names of four roles of least privilege begin, which are made unless they
                are there: ROLES_owner, _worker, _client and _reader. None are made by default.

        Raises:
            SchemaTooNew: the database is ahead of this package.
            PermissionDenied: the database role may not do it.
        """
        return await operations.migrate(self._loop(), {"direction": "up", "roles": roles})

    def migrate_sync(self, *, roles: str = "") -> MigrateReply:
        """Do what `migrate` does, blocking."""
        return _finish(operations.migrate(self._here(), {"direction": "up", "roles": roles}))


async def _create(caller: _Caller, new_executions: Iterable[Mapping[str, Any]]) -> list[Created]:
    items = cast("list[NewExecution]", list(new_executions))
    if not items:
        return []
    return (await operations.create_execution(caller, {"items": items}))["results"]


async def _wait(caller: _Caller, id: str, limit: Duration | None) -> Execution:
    within = None if limit is None else seconds(limit, name="timeout")
    deadline = None if within is None else time.monotonic() + within
    pause, troubled_since = _FIRST_PAUSE, None
    while True:
        left = _POLL if deadline is None else min(_POLL, max(0.0, deadline - time.monotonic()))
        try:
            execution = await operations.wait_execution(
                caller, {"id": id, "wait_ms": round(left * 1000)}
            )
            if execution["status"] in _FINAL:
                return execution
            pause, troubled_since = _FIRST_PAUSE, None
        except WorkflowsError as error:
            troubled_since = troubled_since or time.monotonic()
            if not error.retryable or time.monotonic() - troubled_since > _PATIENCE:
                raise
            await caller.pause(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        if deadline is not None and time.monotonic() >= deadline:
            raise ResultTimeout(f"execution {id} did not end within {within} s; it goes on", id)


class _ChangeOperation(Protocol):
    async def __call__(
        self, channel: operations.Caller, request: TargetsRequest
    ) -> operations.ChangeReply: ...


async def _change(
    caller: _Caller, operation: _ChangeOperation, id: str | UUID, reason: str
) -> Change:
    target: operations.Target = {"id": str(id)}
    if reason:
        target["reason"] = reason
    [result] = (await operation(caller, {"items": [target]}))["results"]
    if "ok" in result:
        return result["ok"]
    raise fault_to_exception(result.get("error", {}))


async def _signal(
    caller: _Caller, id: str | UUID, name: str, payload: Any, key: str | None
) -> Sent:
    signal: Signal = {"id": str(id), "name": name, "payload": plain(payload, path="payload")}
    if key is not None:
        signal["idempotency_key"] = key
    [result] = (await operations.send_signal(caller, {"items": [signal]}))["results"]
    if "ok" in result:
        return result["ok"]
    raise fault_to_exception(result.get("error", {}))


# --- the default client -----------------------------------------------------------------

_default = Client()
_default_lock = threading.Lock()


def client() -> Client:
    """Answer the client that `function.run()` and `.queue()` use outside of workflows.

    Example:
        >>> client() is client()
        True
    """
    return _default


def configure(url: str | None = None, *, schema: str | None = None, **config: Any) -> Client:
    """Choose the database that functions use outside of workflows.

    Without it that is `WORKFLOWS_DATABASE_URL`, or a private embedded PostgreSQL. Call
    it once, at the start: handles that exist keep their database.

    Args:
        url: of the database.
        schema: default `WORKFLOWS_SCHEMA`, then "workflows".
        config: what else the library's Config has.

    Example:
        >>> client = configure("postgres:///app")
    """
    client = Client(url, schema=schema, **config)
    replace_default(client)
    return client


def replace_default(client: Client) -> Client:
    """Makes a client the default one, and answers the one that it replaces."""
    global _default
    with _default_lock:
        _default, former = client, _default
        return former
