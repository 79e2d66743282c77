"""This project, by the same measure."""

from __future__ import annotations

import peer
from workflows import Worker, client, configure, job

configure(peer.URL, pool_size=5)


@job(name="work", queue="work")
async def work(uid: str) -> None:
    await peer.body(uid)


async def worker() -> None:
    await Worker(["work"], concurrency=16, heartbeat_timeout=peer.LEASE, poll_interval=0.5).run()


async def prepare() -> None:
    await client().migrate()


async def start(uid: str) -> None:
    await work.queue(uid)


async def contend() -> None:
    await peer.enqueue(start)


peer.run(prepare, worker, contend)
