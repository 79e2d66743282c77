"""procrastinate: asynchronous, 100 jobs at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any

import contest
from procrastinate import App, PsycopgConnector

CONCURRENT = 100
POLL = 0.02  # of 5 s: what is announced is not always taken at once
NOTHING: dict[str, Any] = {}

logging.getLogger("procrastinate").setLevel(logging.ERROR)

app = App(connector=PsycopgConnector(conninfo=contest.URL, min_size=1, max_size=20))
picked = contest.Happening[float]()
done = 0


@app.task(name="noop", queue="batch")
async def noop() -> None:
    global done
    done += 1


@app.task(name="timed", queue="pickup")
async def timed(sent: float) -> None:
    picked.happens(time.monotonic() - sent)


@contextlib.asynccontextmanager
async def working(queue: str) -> AsyncGenerator[None]:
    worker = asyncio.create_task(
        app.run_worker_async(
            queues=[queue],
            concurrency=CONCURRENT,
            install_signal_handlers=False,
            listen_notify=True,
            fetch_job_polling_interval=POLL,
        )
    )
    try:
        yield
    finally:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker


async def enqueue_one() -> int:
    await noop.configure(queue="single").defer_async()
    return 1


async def enqueue_batch() -> int:
    await noop.batch_defer_async(*(NOTHING for _ in range(contest.BATCH)))
    return contest.BATCH


async def pick_up() -> float:
    waits = picked.next()
    await timed.defer_async(sent=time.monotonic())
    return await waits


async def empty() -> None:
    """Leave no jobs behind that a worker would have to look past."""
    await app.connector.execute_query_async("TRUNCATE procrastinate_jobs CASCADE")


async def rates() -> None:
    await contest.rate("enqueue_single", contest.CALLERS, enqueue_one)
    await empty()
    await contest.rate("enqueue_batch", contest.WRITERS, enqueue_batch)
    if not contest.wanted("drain"):
        return
    if not contest.wanted("enqueue_batch"):
        for _ in range(int(10 * contest.SECONDS) + 1):
            await enqueue_batch()
    await app.connector.execute_query_async("ANALYZE")  # it may know what autovacuum would tell
    contest.emit(begin="drain")
    async with working("batch"):
        await contest.count_done(lambda: done)
    await empty()


async def main() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        if contest.WORKLOADS != "idle":
            await rates()
        async with working("pickup"):
            if contest.WORKLOADS == "idle":
                await contest.idle()
            await contest.latency("pickup", pick_up)


if __name__ == "__main__":
    asyncio.run(main())
