"""The client, the library and a real PostgreSQL together."""

from __future__ import annotations

import asyncio
import threading
import traceback
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from workflows import (
    Client,
    Closed,
    DatabaseUnavailable,
    ExecutionCancelled,
    ExecutionFinished,
    ExecutionNotFound,
    Handle,
    InvalidConfig,
    InvalidRequest,
    PayloadTooLarge,
    ResultTimeout,
    SchemaMissing,
    Worker,
    WorkflowsError,
)
from workflows._engine import Engine
from workflows._operations import Operation

CORPUS: list[Any] = [
    None,
    True,
    0,
    2**53 + 1,
    -(2**63) - 1,
    10**30,
    0.1 + 0.2,
    5e-324,
    1.7976931348623157e308,
    "",
    "\x00",
    "\\u0000",
    "a\ud800b",
    "\U0001f600\u2028\u2029\ufeff",
    "e\u0301\u202e<>&'\"/\\\b\f\n\r\t\x7f",
    [],
    {},
    {"": None, "__proto__": 1, "\x00": 2, "\ud800": 3},
    {"z": 1, "a": [[[{"deep": [None]}]]]},
    "x" * 500_000,
]


@pytest.fixture
async def client(database: str) -> AsyncIterator[Client]:
    async with Client(database) as client:
        yield client


@pytest.fixture
def queue() -> str:
    """A queue that no other test uses."""
    return f"queue-{uuid.uuid4()}"


async def test_payloads_come_back_as_they_went_in(client: Client, queue: str) -> None:
    items = [
        {"kind": "job", "name": "n", "queue": queue, "args": [value], "kwargs": {"v": value}}
        for value in CORPUS
    ]
    created = await client.create(items)
    found = await asyncio.gather(*(client.get(one["id"]) for one in created))
    for value, execution in zip(CORPUS, found, strict=True):
        assert repr(execution.get("args")) == repr([value])
        assert repr(execution.get("kwargs")) == repr({"v": value})


async def test_what_is_too_large_is_a_typed_error_and_leaves_nothing(
    client: Client, queue: str
) -> None:
    item = {"kind": "job", "name": "n", "queue": queue, "args": ["x" * 2_000_000]}
    with pytest.raises(PayloadTooLarge):
        await client.create([item])
    assert (await client.list(queue=queue))["executions"] == []


async def test_faults_are_typed(client: Client, queue: str) -> None:
    nobody = str(uuid.uuid4())
    for call in (
        client.get(nobody),
        client.wait(nobody, 5),
        client.cancel(nobody),
        client.signal(nobody, "go"),
    ):
        with pytest.raises(ExecutionNotFound, match=nobody):
            await call
    with pytest.raises(InvalidRequest):
        await client.get("not an id")
    with pytest.raises(InvalidRequest):
        await client.create([{"kind": "job", "name": "n", "misspelt": 1}])


async def test_an_execution_from_its_start_to_its_end(client: Client, queue: str) -> None:
    item = {"kind": "workflow", "name": "n", "queue": queue, "idempotency_key": queue}
    [first], [second] = await client.create([item]), await client.create([item])
    assert first["created"]
    assert second == {"id": first["id"], "created": False}
    handle = Handle[int](first["id"], client=client)
    assert await handle.status() == "pending"
    assert await handle.signal("go", {"n": 1}, key="k") == {"delivered": True}
    assert await handle.signal("go", {"n": 1}, key="k") == {"delivered": False}
    history = await client.history(handle.id)
    assert [(event["type"], event.get("payload")) for event in history][-1:] == [
        ("signal_received", {"n": 1})
    ]
    with pytest.raises(ResultTimeout):
        await handle.result(0.05)
    waiting = asyncio.ensure_future(handle.result(30))
    assert (await handle.cancel("why"))["changed"]
    with pytest.raises(ExecutionCancelled):
        await waiting
    assert not (await handle.cancel())["changed"]
    with pytest.raises(ExecutionFinished):
        await handle.signal("go")


async def test_a_list_goes_on_behind_its_cursor(client: Client, queue: str) -> None:
    items = [{"kind": "job", "name": "n", "queue": queue}] * 25
    created = [one["id"] for one in await client.create(items)]
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await client.list(queue=queue, limit=10, cursor=cursor)
        found += [execution["id"] for execution in page["executions"]]
        cursor = page.get("cursor")
        if cursor is None:
            break
    assert sorted(found) == sorted(created)


async def test_hundreds_of_calls_in_flight_answer_each_its_own(client: Client, queue: str) -> None:
    items = [{"kind": "job", "name": f"n{n}", "queue": queue} for n in range(500)]
    created = await client.create(items)
    found = await asyncio.gather(*(client.get(one["id"]) for one in created))
    assert [execution["name"] for execution in found] == [item["name"] for item in items]


def test_threads_and_loops_share_one_engine(database: str, queue: str) -> None:
    client = Client(database)
    names: list[str] = []

    def blocking(name: str) -> None:
        [created] = client.create_sync([{"kind": "job", "name": name, "queue": queue}])
        names.append(client.get_sync(created["id"])["name"])

    async def on_a_loop(name: str) -> None:
        [created] = await client.create([{"kind": "job", "name": name, "queue": queue}])
        names.append((await client.get(created["id"]))["name"])

    threads = [threading.Thread(target=blocking, args=(f"t{n}",)) for n in range(8)]
    threads += [threading.Thread(target=asyncio.run, args=(on_a_loop(f"l{n}"),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    assert sorted(names) == sorted([f"t{n}" for n in range(8)] + [f"l{n}" for n in range(8)])


async def test_a_cancelled_wait_leaves_the_channel_usable(client: Client, queue: str) -> None:
    [created] = await client.create([{"kind": "job", "name": "n", "queue": queue}])
    for _ in range(20):
        waits = [asyncio.ensure_future(client.wait(created["id"])) for _ in range(5)]
        await client.get(created["id"])
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    assert (await client.get(created["id"]))["status"] == "pending"


async def test_closing_an_engine_ends_what_waits_on_it(client: Client, queue: str) -> None:
    [created] = await client.create([{"kind": "job", "name": "n", "queue": queue}])
    engine = Engine.shared(client.engine.config["database_url"], pool_size=3)
    wait = {"id": created["id"], "wait_ms": 60_000}
    waiting = asyncio.ensure_future(engine.channel().call(Operation.WAIT_EXECUTION, wait))
    await engine.channel().call(Operation.STATS, {})
    await asyncio.to_thread(engine.close, 0.2)
    with pytest.raises(Closed):
        await waiting


async def test_migrating_again_changes_nothing(client: Client) -> None:
    reply = await client.migrate()
    assert reply["from"] == reply["version"] == reply["latest"]


async def test_migrating_makes_roles_of_the_names_that_are_asked_for(database: str) -> None:
    async with Client(database, schema=f"roles_{uuid.uuid4().hex}", migrate=False) as client:
        reply = await client.migrate(roles=(name := f"r{uuid.uuid4().hex[:12]}"))
        assert reply["version"] == reply["latest"]
        with pytest.raises(WorkflowsError, match="roles"):
            await client.migrate(roles=name + "x" * 60)
        assert (await client.migrate(roles=name))["from"] == reply["version"]


async def test_a_schema_that_was_never_migrated_is_named(database: str) -> None:
    async with Client(database, schema="not_there", migrate=False) as client:
        with pytest.raises(SchemaMissing, match="not_there"):
            await client.stats()


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("postgres://u:s3cret@127.0.0.1:1/x", DatabaseUnavailable),
        ("postgres://u:s3cret@no-such-host.invalid/x", DatabaseUnavailable),
        ("postgres://u:s3cret@host:port/x", InvalidConfig),
        ("s3cret", InvalidConfig),
        ("s3cret://\x00\ud800", InvalidConfig),
    ],
)
def test_a_url_that_leads_nowhere_is_a_typed_error_without_the_password(
    url: str, error: type[WorkflowsError]
) -> None:
    with pytest.raises(error) as caught:
        Client(url).get_sync(uuid.uuid4())
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)).replace(repr(url), "")
    assert "URL" in str(caught.value)


@pytest.mark.parametrize("queues", [[], [""], ["q" * 10_000], [3], ["a\x00b"]])
async def test_a_worker_for_no_queue_is_a_typed_error(database: str, queues: list[Any]) -> None:
    with pytest.raises(InvalidRequest, match="queues"):
        async with Worker(queues, url=database):
            raise AssertionError("it started")
