"""The client and handles, against an engine that answers what a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import pytest
import workflows
import workflows._client as client_module
from workflows import (
    Client,
    DatabaseUnavailable,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionFinished,
    ExecutionNotFound,
    Handle,
    InvalidDuration,
    PayloadError,
    RemoteError,
    ResultTimeout,
)
from workflows._engine import Engine
from workflows._operations import Operation

ID = "0199a0b0-0000-7000-8000-000000000001"
Answer = Callable[[Operation, Mapping[str, Any]], Any]


class FakeEngine:
    def __init__(self) -> None:
        self.calls: list[tuple[Operation, Mapping[str, Any]]] = []
        self.answers: list[Any] = []
        self.closed = 0

    def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        self.calls.append((operation, request))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def channel(self) -> FakeChannel:
        return FakeChannel(self)

    def close(self, grace: float) -> None:
        self.closed += 1


class FakeChannel:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine

    async def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        await asyncio.sleep(0)
        return self.engine.call(operation, request)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Client:
    def shared(url: str | None, **config: Any) -> Engine:
        return cast("Engine", engine)

    monkeypatch.setattr(Engine, "shared", shared)
    monkeypatch.setattr(client_module, "_FIRST_PAUSE", 0.0)
    return Client("postgres:///x")


def execution(status: str, **more: Any) -> dict[str, Any]:
    return {"id": ID, "status": status, **more}


async def test_creating_answers_in_order(client: Client, engine: FakeEngine) -> None:
    created = [{"id": ID, "created": True}, {"id": ID, "created": False}]
    engine.answers = [{"results": created}]
    items = [{"kind": "job", "name": "a"}, {"kind": "job", "name": "b"}]
    assert await client.create(iter(items)) == created
    assert engine.calls == [(Operation.CREATE_EXECUTION, {"items": items})]


async def test_creating_nothing_asks_nobody(client: Client, engine: FakeEngine) -> None:
    assert await client.create([]) == []
    assert engine.calls == []


async def test_a_result_is_waited_for_in_slices(client: Client, engine: FakeEngine) -> None:
    engine.answers = [
        execution("running"),
        execution("suspended"),
        execution("completed", result=7),
    ]
    assert await Handle(ID, client=client).result() == 7
    assert engine.calls == [(Operation.WAIT_EXECUTION, {"id": ID, "wait_ms": 30_000})] * 3


async def test_a_result_is_rebuilt_by_its_annotation(client: Client, engine: FakeEngine) -> None:
    @dataclass
    class Receipt:
        id: UUID

    engine.answers = [execution("completed", result={"id": ID})]
    handle: Handle[Receipt] = Handle(ID, client=client, result_type=Receipt)
    assert await handle.result() == Receipt(UUID(ID))


async def test_no_result_is_none(client: Client, engine: FakeEngine) -> None:
    engine.answers = [execution("completed")]
    assert await Handle(ID, client=client).result() is None


@pytest.mark.parametrize("limit", [0, "0s", 0.001])
async def test_a_result_that_is_late_is_a_typed_timeout_and_can_be_asked_for_again(
    client: Client, engine: FakeEngine, limit: Any
) -> None:
    engine.answers = [execution("running")] * 1000
    handle = Handle[int](ID, client=client)
    with pytest.raises(ResultTimeout) as caught:
        await handle.result(limit)
    assert caught.value.id == ID
    assert isinstance(caught.value, TimeoutError)
    engine.answers = [execution("completed", result=7)]
    assert await handle.result(limit) == 7


async def test_a_timeout_that_is_nonsense_is_refused_before_anything_is_asked(
    client: Client, engine: FakeEngine
) -> None:
    with pytest.raises(InvalidDuration):
        await Handle(ID, client=client).result("soon")
    assert engine.calls == []


async def test_a_failure_has_the_remote_type_message_stack_and_causes(
    client: Client, engine: FakeEngine
) -> None:
    cause = {"type": "Error", "message": "socket", "language": "node"}
    error = {"type": "CardDeclined", "message": "no funds", "stack": "at charge", "cause": cause}
    engine.answers = [execution("failed", error=error)]
    with pytest.raises(ExecutionFailed, match="CardDeclined: no funds") as caught:
        await Handle(ID, client=client).result()
    failed = caught.value
    assert (failed.id, failed.type, failed.message, failed.stack) == (
        ID,
        "CardDeclined",
        "no funds",
        "at charge",
    )
    assert isinstance(failed.__cause__, RemoteError)
    assert str(failed.__cause__.__cause__) == "Error: socket"


async def test_a_cancelled_execution_has_no_result(client: Client, engine: FakeEngine) -> None:
    engine.answers = [execution("cancelled")]
    with pytest.raises(ExecutionCancelled, match=ID) as caught:
        await Handle(ID, client=client).result()
    assert caught.value.id == ID


async def test_an_unknown_id_is_not_found(client: Client, engine: FakeEngine) -> None:
    engine.answers = [ExecutionNotFound("no x")]
    with pytest.raises(ExecutionNotFound):
        await Handle(ID, client=client).result()


async def test_a_database_that_is_away_for_a_moment_is_waited_for(
    client: Client, engine: FakeEngine
) -> None:
    away = DatabaseUnavailable("away")
    engine.answers = [away, away, execution("running"), away, execution("completed", result=7)]
    assert await Handle(ID, client=client).result() == 7


async def test_a_database_that_stays_away_is_an_error(
    client: Client, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_PATIENCE", -1.0)
    engine.answers = [DatabaseUnavailable("away")]
    with pytest.raises(DatabaseUnavailable):
        await Handle(ID, client=client).result()


async def test_one_bad_verdict_is_an_error_of_its_class(client: Client, engine: FakeEngine) -> None:
    fault = {"code": "execution_finished", "message": "it is over", "retryable": False}
    engine.answers = [{"results": [{"error": fault}]}] * 2
    with pytest.raises(ExecutionFinished, match="it is over"):
        await client.signal(ID, "go")
    with pytest.raises(ExecutionFinished):
        await client.retry(ID)


async def test_a_handle_acts_on_its_execution(client: Client, engine: FakeEngine) -> None:
    change = {"status": "cancelled", "changed": True}
    engine.answers = [
        execution("running"),
        {"results": [{"ok": change}]},
        {"results": [{"ok": change}]},
        {"results": [{"ok": {"delivered": True}}]},
    ]
    handle = Handle[int](ID, client=client)
    assert await handle.status() == "running"
    assert await handle.cancel("why") == change
    assert await handle.terminate() == change
    assert await handle.signal("go", {"n": 1}, key="k") == {"delivered": True}
    assert engine.calls == [
        (Operation.GET_EXECUTION, {"id": ID}),
        (Operation.CANCEL_EXECUTION, {"items": [{"id": ID, "reason": "why"}]}),
        (Operation.TERMINATE_EXECUTION, {"items": [{"id": ID}]}),
        (
            Operation.SEND_SIGNAL,
            {"items": [{"id": ID, "name": "go", "payload": {"n": 1}, "idempotency_key": "k"}]},
        ),
    ]


async def test_a_signal_that_is_not_json_is_refused_by_its_path(
    client: Client, engine: FakeEngine
) -> None:
    with pytest.raises(PayloadError, match=r"payload\.a"):
        await client.signal(ID, "go", {"a": {1}})
    assert engine.calls == []


async def test_a_list_asks_for_what_was_named_only(client: Client, engine: FakeEngine) -> None:
    engine.answers = [{"executions": []}] * 2
    await client.list()
    await client.list(status="failed", parent_id=UUID(ID), parked=True, limit=5)
    assert [request for _, request in engine.calls] == [
        {},
        {"status": ["failed"], "parent_id": ID, "parked": True, "limit": 5},
    ]


async def test_a_history_is_read_to_its_end(client: Client, engine: FakeEngine) -> None:
    pages = [[{"position": 1}, {"position": 2}], [{"position": 3}]]
    engine.answers = [
        {"run": 4, "events": pages[0], "more": True},
        {"run": 4, "events": pages[1]},
    ]
    assert await client.history(ID) == pages[0] + pages[1]
    assert engine.calls[1][1] == {"id": ID, "run": 4, "after": 2}


def test_blocking_twins_do_the_same_without_a_loop(client: Client, engine: FakeEngine) -> None:
    change = {"status": "cancelled", "changed": False}
    engine.answers = [
        {"results": [{"id": ID, "created": True}]},
        execution("running"),
        DatabaseUnavailable("away"),
        execution("completed", result=7),
        {"results": [{"ok": change}]},
        {"results": [{"ok": {"delivered": True}}]},
        {"schema": "workflows", "from": 0, "version": 1, "latest": 1},
    ]
    [created] = client.create_sync([{"kind": "job", "name": "a"}])
    assert client.get_sync(created["id"])["status"] == "running"
    assert Handle[int](ID, client=client).result_sync("5s") == 7
    assert client.cancel_sync(ID) == change
    assert client.signal_sync(ID, "go")["delivered"]
    assert client.migrate_sync()["version"] == 1


async def test_waiting_with_a_blocking_call_on_a_running_loop_is_refused(
    client: Client, engine: FakeEngine
) -> None:
    with pytest.raises(RuntimeError, match=r"await handle\.result\(\)"):
        Handle(ID, client=client).result_sync()
    assert engine.calls == []


async def test_a_client_gives_its_engine_back_once(client: Client, engine: FakeEngine) -> None:
    async with client:
        assert client.engine is cast("Engine", engine)
    client.close()
    assert engine.closed == 1


def test_the_default_client_is_chosen_once_and_used_by_handles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "_default", Client())
    handle = Handle[int](ID)
    chosen = workflows.configure("postgres:///app", schema="s")
    assert workflows.client() is chosen
    assert handle.client is chosen
    workflows.configure("postgres:///other")
    assert handle.client is chosen


def test_a_handle_equals_another_of_the_same_execution() -> None:
    assert Handle[int](ID) == Handle[str](ID, created=False)
    assert len({Handle[int](ID), Handle[int](ID)}) == 1
    assert repr(Handle[int](ID)) == f"Handle('{ID}', created=True)"
