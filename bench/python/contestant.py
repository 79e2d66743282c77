"""The Python adapter as a contestant.

Client and worker share one process and one event loop, so that the client's cost is
in the figure, as it is with the peers. "Apart" the worker is this program again, as
`contestant.py worker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import cProfile
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from workflows import Worker, configure, job, step, workflow

SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
WORKLOADS = os.environ.get("BENCH_WORKLOADS", "")
PROFILE = os.environ.get("BENCH_PROFILE")  # a file for cProfile's statistics
CALLERS = 200
BATCH = 500
WRITERS = 4
SLOTS = 1000  # of the worker that drains
STEPS = 10
PAUSE = 0.005

done = 0
pick_up_took = 0.0
picked_up = asyncio.Event()


@job(queue="single")
async def single() -> None: ...


@job(queue="batch")
async def batch() -> None:
    global done
    done += 1


@job(queue="pickup")
async def timed(sent: float) -> float:
    global pick_up_took
    pick_up_took = time.monotonic() - sent
    picked_up.set()
    return pick_up_took


@workflow(queue="workflows")
async def noop() -> None: ...


@step
async def one() -> int:
    return 1


@workflow(queue="workflows")
async def stepped() -> int:
    return sum([await one.run() for _ in range(STEPS)])


# --- rates ----------------------------------------------------------------------------


async def rate(name: str, tasks: int, operation: Callable[[], Awaitable[int]]) -> None:
    """Have tasks repeat an operation for the time given; it answers what it was worth."""
    if not wanted(name):
        return
    await operation()  # connects and prepares
    emit(begin=name)
    started, count = time.perf_counter(), 0
    end = started + SECONDS

    async def repeat() -> None:
        nonlocal count
        while time.perf_counter() < end:
            worth = await operation()  # not in one expression: others count meanwhile
            count += worth

    await asyncio.gather(*(repeat() for _ in range(tasks)))
    took = time.perf_counter() - started
    emit(workload=name, value=count / took, unit="/s", operations=count)


async def enqueue_one() -> int:
    await single.queue()
    return 1


async def enqueue_batch() -> int:
    await client.create([batch.execution((), {}) for _ in range(BATCH)])
    return BATCH


async def drain() -> None:
    """Count what is done in the time given, or until the queue is empty."""
    global done
    if not wanted("drain"):
        return
    if not wanted("enqueue_batch"):
        for _ in range(int(20 * SECONDS)):
            await enqueue_batch()
    async with Worker(["batch"], concurrency=SLOTS):
        emit(begin="drain")
        started, before = time.perf_counter(), done
        last = started
        while time.perf_counter() - started < SECONDS:
            count = done
            await asyncio.sleep(0.05)
            if done > count:
                last = time.perf_counter()
            elif last > started:
                break
        emit(
            workload="drain",
            value=(done - before) / (last - started),
            unit="/s",
            operations=done - before,
        )


async def run_noop() -> int:
    await noop.run()
    return 1


async def run_stepped() -> int:
    return await stepped.run()


# --- latencies ------------------------------------------------------------------------


async def latency(name: str, operation: Callable[[], Awaitable[float]]) -> None:
    """Repeat an operation on an otherwise idle system."""
    if not wanted(name):
        return
    for _ in range(10):
        await operation()
    emit(begin=name)
    took: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        took.append(await operation())
        await asyncio.sleep(PAUSE)
    took.sort()
    p50, p99 = (took[math.ceil(q * len(took)) - 1] * 1000 for q in (0.5, 0.99))
    emit(workload=name, value=p50, p99=p99, unit="ms", operations=len(took))


async def pick_up() -> float:
    handle = await timed.queue(time.monotonic())
    return await handle.result()


async def pick_up_here() -> float:
    picked_up.clear()
    await timed.queue(time.monotonic())
    await picked_up.wait()
    return pick_up_took


async def to_result() -> float:
    started = time.perf_counter()
    await noop.run()
    return time.perf_counter() - started


@contextlib.asynccontextmanager
async def worker_apart() -> AsyncGenerator[None]:
    """Run a worker in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "worker", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        yield
    finally:
        process.stdin.close()
        await process.wait()


async def serve() -> None:
    """Be that worker until standard input ends."""
    async with Worker(["pickup", "workflows"], concurrency=100):
        print(flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def main() -> None:
    await client.migrate()
    await rate("enqueue_single", CALLERS, enqueue_one)
    await rate("enqueue_batch", WRITERS, enqueue_batch)
    await drain()
    async with Worker(["pickup", "workflows"], concurrency=100):
        await rate("workflow_1", 1, run_noop)
        await rate("workflow_100", 100, run_noop)
        await rate("steps_100", 100, run_stepped)
        await latency("pickup", pick_up_here)
        await latency("result", to_result)
    if wanted("pickup_apart") or wanted("result_apart"):
        async with worker_apart():
            await latency("pickup_apart", pick_up)
            await latency("result_apart", to_result)


def wanted(name: str) -> bool:
    return not WORKLOADS or name in WORKLOADS.split(",")


def emit(**line: object) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    client = configure(os.environ["BENCH_DATABASE_URL"])
    if sys.argv[1:] == ["worker"]:
        asyncio.run(serve())
    elif PROFILE:
        with cProfile.Profile() as profile:
            asyncio.run(main())
        profile.dump_stats(PROFILE)
    else:
        asyncio.run(main())
