"""A standby that nobody has promoted: what a client and a worker make of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_functions import crash_job
from crash_stage import Stage, WorkerProcess
from fault_server import ROOT, FaultServer, Standby
from workflows import Client, WorkflowsError

# Of core/engine/flusher.go: how long a write waits for a failover, as for any outage.
PATIENCE = 30.0
# The pauses of a worker that cannot register grow up to this.
RETRY = 5.0
MARGIN = 5.0


@pytest.fixture
def primary() -> Iterator[FaultServer]:
    with FaultServer(ROOT / "build" / "faults") as server:
        yield server


@pytest.fixture
def database_url(primary: FaultServer) -> str:
    return primary.url("postgres")


@pytest.fixture
def standby(primary: FaultServer, stage: Stage) -> Iterator[Standby]:
    """A copy of what the stage has made."""
    with primary.standby() as server:
        yield server


@pytest.fixture
async def client(standby: Standby, stage: Stage) -> AsyncIterator[Client]:
    async with Client(standby.url("postgres"), schema=stage.schema, pool_size=3) as client:
        yield client


async def refused(write: Coroutine[Any, Any, Any]) -> float:
    """Answer how long it took until a write was refused."""
    began = time.monotonic()
    with pytest.raises(WorkflowsError) as caught:
        await write
    error = caught.value
    assert (error.code, error.retryable) == ("database_unavailable", True)
    for what_to_do in ("standby", "promoted", "primary", "target_session_attrs=read-write"):
        assert what_to_do in str(error)
    return time.monotonic() - began


def used(worker: WorkerProcess) -> float:
    """Answer the seconds of a processor that a process has used."""
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_a_standby_is_read_from_and_takes_writes_and_a_worker_once_it_is_promoted(
    stage: Stage, standby: Standby, client: Client
) -> None:
    """Row 28: a failover may be under way, so that all wait for it, and none for ever."""
    [job] = await stage.client.create([crash_job.execution((1,), {})])
    worker = stage.run(
        *("far", "-m", "workflows", "worker", "-m", "crash_functions"),
        environment={"WORKFLOWS_DATABASE_URL": standby.url("postgres")},
    )
    await stage.until(lambda: "is tried again" in worker.output, "the worker to be refused")
    before = used(worker)
    assert (await client.get(job["id"]))["status"] == "pending"
    assert (await client.stats())["queues"]

    writes = client.create([crash_job.execution((2,), {})]), client.signal(job["id"], "s", 1)
    waited = max(await asyncio.gather(*map(refused, writes)))
    assert PATIENCE - 1 < waited < PATIENCE + MARGIN
    spent = used(worker) - before
    assert worker.exit_code is None
    assert spent < 0.1 * waited, "a worker that waits does not spin"
    assert worker.output.count("is tried again") < 10 + waited / RETRY

    written = asyncio.create_task(client.create([crash_job.execution((3,), {})]))
    await asyncio.to_thread(standby.promote)
    await asyncio.wait_for(written, MARGIN)
    await stage.serves(worker)
    await stage.saw("ended", "job 1")
    await stage.saw("ended", "job 3")
    assert stage.count("began", "job 2") == 0
    print(f"{waited * 1000:.0f} ms until a write was refused")  # for docs/reliability.md
    print(f"{spent * 1000:.0f} ms of a processor a waiting worker used")
