"""Does for the peers in Python what bench/run.py wants of a contestant."""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
WORKLOADS = os.environ.get("BENCH_WORKLOADS", "")
URL = os.environ.get("BENCH_DATABASE_URL", "")
CALLERS = 200
BATCH = 500
WRITERS = 4
STEPS = 10
PAUSE = 0.005
WARM = 10

T = TypeVar("T")


def wanted(name: str) -> bool:
    return not WORKLOADS or name in WORKLOADS.split(",")


def emit(**line: object) -> None:
    """Print a line, and wait until the meters have been read."""
    print(json.dumps(line), flush=True)
    if os.environ.get("BENCH_WAITS"):
        sys.stdin.readline()


async def rate(name: str, callers: int, operation: Callable[[], Awaitable[int]]) -> None:
    """Have callers repeat an operation for the time given; it answers what it was worth."""
    if not wanted(name):
        return
    await operation()  # connects and prepares
    emit(begin=name)
    started, count = time.perf_counter(), 0

    async def repeat() -> None:
        nonlocal count
        while time.perf_counter() < started + SECONDS:
            worth = await operation()  # not in one expression: others count meanwhile
            count += worth

    await asyncio.gather(*(repeat() for _ in range(callers)))
    took = time.perf_counter() - started
    emit(workload=name, value=count / took, unit="/s", operations=count)


async def count_done(done: Callable[[], int]) -> None:
    """Count what a worker drains in the time given, or until the queue is empty."""
    started = last = time.perf_counter()
    before = count = done()
    while (at := time.perf_counter()) < started + SECONDS and (last == started or at < last + 0.5):
        await asyncio.sleep(PAUSE)
        if done() > count:
            count, last = done(), time.perf_counter()
    value = (count - before) / (last - started) if count > before else 0
    emit(workload="drain", value=value, unit="/s", operations=count - before)


async def latency(name: str, operation: Callable[[], Awaitable[float]]) -> None:
    """Repeat an operation, which answers seconds, on an otherwise idle system."""
    if not wanted(name):
        return
    for _ in range(WARM):
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


async def idle() -> None:
    """Leave a worker alone."""
    await asyncio.sleep(2)  # what a start brings is over
    emit(begin="idle")
    await asyncio.sleep(SECONDS)
    emit(workload="idle")


class Happening(Generic[T]):
    """Something that happens once at a time, perhaps in another thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next: asyncio.Future[T] | None = None

    def next(self) -> asyncio.Future[T]:
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.create_future()
        return self._next

    def happens(self, value: T) -> None:
        if self._loop is not None and self._next is not None:
            self._loop.call_soon_threadsafe(self._settle, self._next, value)

    def _settle(self, future: asyncio.Future[T], value: T) -> None:
        if not future.done():
            future.set_result(value)
