"""DBOS under faults: `peer_dbos.py worker|client`; an executor that died is started again."""

from __future__ import annotations

import asyncio

import peer
from dbos import DBOS, DBOSClient, DBOSConfig

config: DBOSConfig = {
    "name": "peer",
    "system_database_url": peer.URL,
    "sys_db_pool_size": 5,
    "application_version": "1",
    "executor_id": peer.SLOT,
    "log_level": "ERROR",
}


@DBOS.step()
async def step(uid: str) -> None:
    await peer.body(uid)


@DBOS.workflow(name="work")
async def work(uid: str) -> None:
    await step(uid)


async def worker() -> None:
    DBOS(config=config)
    DBOS.launch()
    await DBOS.register_queue_async("work", worker_concurrency=16, polling_interval_sec=0.5)
    await asyncio.Event().wait()


async def prepare() -> None:
    DBOS(config=config)
    DBOS.launch()
    DBOS.destroy()


async def client() -> None:
    there = DBOSClient(system_database_url=peer.URL)

    async def start(uid: str) -> None:
        await there.enqueue_async(
            {"queue_name": "work", "workflow_name": "work", "workflow_id": uid}, uid
        )

    await peer.enqueue(start)


peer.run(prepare, worker, client)
