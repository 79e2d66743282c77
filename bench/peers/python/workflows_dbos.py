"""DBOS Transact for Python: asynchronous, a pool of 20, and a queue that looks every 10 ms."""

from __future__ import annotations

import asyncio
import time

import contest
from dbos import DBOS, DBOSConfig

IN_FLIGHT = 100
QUEUE = "bench"
POLL = 0.01

config: DBOSConfig = {
    "name": "bench",
    "system_database_url": contest.URL,
    "sys_db_pool_size": 20,
    "application_version": "1",
    "log_level": "ERROR",
}
DBOS(config=config)
picked = contest.Happening[float]()


@DBOS.workflow()
async def noop() -> int:
    return 1


@DBOS.step()
async def one() -> int:
    return 1


@DBOS.workflow()
async def stepped() -> int:
    return sum([await one() for _ in range(contest.STEPS)])


@DBOS.workflow()
async def parallel() -> int:
    return sum(await asyncio.gather(*(one() for _ in range(contest.STEPS))))


@DBOS.workflow()
async def timed(sent: float) -> None:
    picked.happens(time.monotonic() - sent)


async def pick_up() -> float:
    waits = picked.next()
    await DBOS.enqueue_workflow_async(QUEUE, timed, time.monotonic())
    return await waits


async def to_result() -> float:
    started = time.perf_counter()
    await noop()
    return time.perf_counter() - started


async def main() -> None:
    DBOS.launch()
    await DBOS.register_queue_async(QUEUE, worker_concurrency=IN_FLIGHT, polling_interval_sec=POLL)
    if contest.WORKLOADS == "idle":
        await contest.idle()
        return
    await contest.rate("workflow_1", 1, noop)
    await contest.rate("workflow_100", IN_FLIGHT, noop)
    await contest.rate("workflow_1000", 10 * IN_FLIGHT, noop)
    await contest.rate("steps_100", IN_FLIGHT, stepped)
    await contest.rate("activities_100", IN_FLIGHT, stepped)
    await contest.rate("parallel_100", IN_FLIGHT, parallel)
    await contest.latency("pickup", pick_up)
    await contest.latency("result", to_result)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    finally:
        DBOS.destroy()
