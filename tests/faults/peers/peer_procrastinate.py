"""procrastinate under faults: `peer_procrastinate.py worker|client`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import peer
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException

app = App(connector=PsycopgConnector(conninfo=peer.URL, min_size=1, max_size=5))


@app.task(name="work", queue="work")
async def work(uid: str) -> None:
    await peer.body(uid)


async def worker() -> None:
    async with app.open_async():
        await app.run_worker_async(
            queues=["work"],
            concurrency=16,
            fetch_job_polling_interval=0.5,
            update_heartbeat_interval=0.5,
            stalled_worker_timeout=peer.LEASE,
        )


async def client() -> None:
    """Enqueue, and retry what stalled workers held, as its manual has one do."""
    async with app.open_async():
        rescuing = asyncio.create_task(_rescue())
        await peer.enqueue(_start)
        rescuing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await rescuing


async def _start(uid: str) -> Any:
    return await work.defer_async(uid=uid)


async def _rescue() -> None:
    while True:
        await asyncio.sleep(0.5)
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=peer.LEASE):
            with contextlib.suppress(ConnectorException):  # it has just ended
                await app.job_manager.retry_job(job)


async def prepare() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


peer.run(prepare, worker, client)
