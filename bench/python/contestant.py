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

from workflows import Worker, activity, configure, gather, job, step, workflow
from workflows._replay_command import check

SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
WORKLOADS = os.environ.get("BENCH_WORKLOADS", "")
PROFILE = os.environ.get("BENCH_PROFILE")  # a file for cProfile's statistics
CALLERS = 200
BATCH = 500
WRITERS = 4
SLOTS = 1000  # of the worker that drains, and of that for activities
EVENTS = 10_000  # of the history that is replayed
WINDOW = float(os.environ.get("BENCH_WINDOW", "60"))
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


@activity(queue="activities")
async def act() -> int:
    return 1


@workflow(queue="workflows")
async def sequential() -> int:
    return sum([await act.run() for _ in range(STEPS)])


@workflow(queue="workflows")
async def parallel() -> int:
    return sum(await gather(*(act.run() for _ in range(STEPS))))


@workflow(queue="workflows")
async def long() -> int:
    total = 0
    while total < EVENTS - 1:  # and the event that it has started
        total += sum(await gather(*(one.run() for _ in range(min(100, EVENTS - 1 - total)))))
    return total


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
    emit(begin="drain")
    async with Worker(["batch"], concurrency=SLOTS):
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


async def run_sequential() -> int:
    return await sequential.run()


async def run_parallel() -> int:
    return await parallel.run()


async def replay() -> None:
    """Replay one long history again and again."""
    if not wanted("replay"):
        return
    handle = await long.queue()
    await handle.result()
    execution, events = await client.get(handle.id), await client.history(handle.id)
    emit(begin="replay")
    started, count = time.perf_counter(), 0
    while time.perf_counter() < started + SECONDS:
        verdict = check(execution, events, long)
        assert verdict.verdict == "fits", verdict.message
        count += verdict.events
    took = time.perf_counter() - started
    emit(workload="replay", value=count / took, unit="/s", operations=count)


async def sustained() -> None:
    """Keep 100 workflows in flight, and tell what came of it at the end of each window."""
    took: list[float] = []
    began = time.perf_counter()

    async def repeat() -> None:
        while time.perf_counter() < began + SECONDS:
            started = time.perf_counter()
            await noop.run()
            took.append(time.perf_counter() - started)

    async def tell() -> None:
        number = 0
        while (number + 1) * WINDOW <= SECONDS + 0.001:
            number += 1
            await asyncio.sleep(began + number * WINDOW - time.perf_counter())
            latest = sorted(took)
            took.clear()
            p50, p99 = quantiles(latest)
            line = {"window": number, "until": number * WINDOW, "value": len(latest) / WINDOW}
            print(json.dumps({**line, "p50": p50, "p99": p99}), flush=True)

    async with Worker(["workflows"], concurrency=100):
        await asyncio.gather(tell(), *(repeat() for _ in range(100)))


async def idle() -> None:
    """Have a worker that has nothing to do."""
    async with Worker(["pickup", "workflows"], concurrency=100):
        await pick_up()
        await asyncio.sleep(2)  # what a start brings is over
        emit(begin="idle")
        await asyncio.sleep(SECONDS)
        emit(workload="idle")


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
    p50, p99 = quantiles(sorted(took))
    emit(workload=name, value=p50, p99=p99, unit="ms", operations=len(took))


def quantiles(took: list[float]) -> tuple[float, float]:
    """Answer p50 and p99 in milliseconds."""
    if not took:
        return 0.0, 0.0
    p50, p99 = (took[math.ceil(q * len(took)) - 1] * 1000 for q in (0.5, 0.99))
    return p50, p99


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
    if WORKLOADS in ("idle", "sustained"):
        await (idle() if WORKLOADS == "idle" else sustained())
        return
    await rate("enqueue_single", CALLERS, enqueue_one)
    await rate("enqueue_batch", WRITERS, enqueue_batch)
    await drain()
    async with Worker(["pickup", "workflows"], concurrency=100):
        await rate("workflow_1", 1, run_noop)
        await rate("workflow_100", 100, run_noop)
        await rate("steps_100", 100, run_stepped)
        await latency("pickup", pick_up_here)
        await latency("result", to_result)
    async with Worker(["workflows", "activities"], concurrency=SLOTS):
        await rate("workflow_1000", 1000, run_noop)
        await rate("activities_100", 100, run_sequential)
        await rate("parallel_100", 100, run_parallel)
        await replay()
    if wanted("pickup_apart") or wanted("result_apart"):
        async with worker_apart():
            await latency("pickup_apart", pick_up)
            await latency("result_apart", to_result)


def wanted(name: str) -> bool:
    return not WORKLOADS or name in WORKLOADS.split(",")


def emit(**line: object) -> None:
    """Print a line, and wait until the meters have been read."""
    print(json.dumps(line), flush=True)
    if os.environ.get("BENCH_WAITS"):
        sys.stdin.readline()


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
