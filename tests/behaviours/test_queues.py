"""What starts when, how often, and what a caller is told of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from crash_stage import PATIENCE, Stage, code
from workflows import Client, Handle, InvalidRequest, WorkflowsError, job

BATCH = 10_000


async def test_one_slot_takes_the_higher_priority_first_and_then_the_older(stage: Stage) -> None:
    """Q1, Q2: 5a, 5b, 9, 1 run as 9, 5a, 5b, 1, and a 10 of the future holds none of them up."""
    ran: list[str] = []
    with code() as functions:

        @job
        async def runs(name: str) -> None:
            ran.append(name)

    later = await stage.queue(runs.options(priority=10, delay="1h"), "later")
    handles = [
        await stage.queue(runs.options(priority=priority), name)
        for name, priority in (("5a", 5), ("5b", 5), ("9", 9), ("1", 1))
    ]
    async with stage.serving(functions, concurrency=1):
        # Nobody waits for results before: who begins to marks the row, and a claim in that
        # moment takes the next one.
        await stage.until(lambda: len(ran) == len(handles), "all to run")
        await asyncio.gather(*(handle.result(PATIENCE) for handle in handles))
    assert ran == ["9", "5a", "5b", "1"]
    assert await later.status() == "scheduled"


async def test_a_key_leads_to_the_first_execution_in_whatever_state_it_is(stage: Stage) -> None:
    """Q4: pending, running, completed, failed or cancelled; another name's key is another key."""
    go = asyncio.Event()
    with code() as functions:

        @job(retries=0)
        async def runs(how: str) -> str:
            await go.wait()
            if how == "fails":
                raise ValueError(how)
            return how

        @job
        async def other() -> str:
            return "other"

    async def again(first: Handle[Any], key: str, status: str) -> None:
        await stage.is_in(first, status)
        [created] = await stage.client.create(
            [runs.options(idempotency_key=key).execution(("again",), {})]
        )
        assert created == {"id": first.id, "created": False}, status
        assert await first.status() == status

    keyed = runs.options(idempotency_key="completes")
    first, failing = (
        await stage.queue(keyed, "first"),
        await stage.queue(runs.options(idempotency_key="fails"), "fails"),
    )
    cancelled = await stage.queue(runs.options(idempotency_key="cancelled"), "cancelled")
    await again(first, "completes", "pending")
    await cancelled.cancel()
    await again(cancelled, "cancelled", "cancelled")
    async with stage.serving(functions):
        await again(first, "completes", "running")
        go.set()
        assert await first.result(PATIENCE) == "first"
        await again(first, "completes", "completed")
        await again(failing, "fails", "failed")
        another = await stage.queue(other.options(idempotency_key="completes"))
        assert await another.result(PATIENCE) == "other"
    assert len((await stage.client.list())["executions"]) == 4


async def test_fifty_enqueues_of_one_key_at_once_make_one_execution(stage: Stage) -> None:
    """Q4: from five engines; one is told that it created it."""
    with code():

        @job
        async def runs() -> None: ...

    new = runs.options(idempotency_key="once").execution((), {})
    clients = [Client(stage.url, schema=stage.schema, pool_size=10 + n) for n in range(5)]
    try:
        await asyncio.gather(*(client.stats() for client in clients))  # all are connected
        created = await asyncio.gather(
            *(client.create([new]) for _ in range(10) for client in clients)
        )
    finally:
        await asyncio.gather(*(client.__aexit__(None, None, None) for client in clients))
    assert len({each["id"] for [each] in created}) == 1
    assert [each["created"] for [each] in created].count(True) == 1
    assert len((await stage.client.list())["executions"]) == 1


def batch(queue: str, padding: int = 0) -> list[dict[str, Any]]:
    return [
        {"kind": "job", "name": f"job {n}", "queue": queue, "args": [n, "x" * padding]}
        for n in range(BATCH)
    ]


async def test_a_batch_of_ten_thousand_comes_all_at_once_with_ids_in_order(stage: Stage) -> None:
    """Q13: whoever looks sees none of them or all."""
    seen: set[int] = set()
    done = asyncio.Event()

    async def watch() -> None:
        async with Client(stage.url, schema=stage.schema, pool_size=10) as other:
            while not done.is_set():
                queues = (await other.stats())["queues"]
                seen.add(sum(each["pending"] for each in queues if each["queue"] == "batch"))

    watching = asyncio.create_task(watch())
    created = await stage.client.create(batch("batch", padding=900))  # more than 8 MiB
    done.set()
    await watching
    assert seen <= {0, BATCH}
    assert len({each["id"] for each in created}) == BATCH
    assert all(each["created"] for each in created)

    found = {row["id"]: row["name"] for row in await everything(stage, "batch")}
    assert [found[each["id"]] for each in created] == [f"job {n}" for n in range(BATCH)]
    # Of the same priority and time, what was given first starts first.
    assert [each["id"] for each in created] == sorted(each["id"] for each in created)


async def everything(stage: Stage, queue: str) -> list[Any]:
    rows: list[Any] = []
    cursor: str | None = None
    while True:
        page = await stage.client.list(queue=queue, limit=1000, cursor=cursor)
        rows += page["executions"]
        if (cursor := page.get("cursor")) is None:
            return rows


@pytest.mark.parametrize(
    "bad",
    [{"priority": 11}, {"name": ""}, {"args": ["\x00" * 300_000]}],
    ids=["priority", "name", "size"],
)
async def test_a_batch_with_one_bad_execution_makes_none(stage: Stage, bad: dict[str, Any]) -> None:
    """Q13: the error names it, and all the others are not there."""
    items = batch("batch")
    items[-1] |= bad
    with pytest.raises(WorkflowsError, match=rf"items\[{BATCH - 1}\]") as caught:
        await stage.client.create(items)
    assert isinstance(caught.value, InvalidRequest) or caught.value.code == "payload_too_large"
    assert (await stage.client.list(queue="batch"))["executions"] == []
