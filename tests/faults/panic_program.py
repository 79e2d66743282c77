"""A client and a worker in one process, in which a failpoint panics once, somewhere.

The process has to live on, whoever waits has to be answered, and what is tried again has to work.
"""

from __future__ import annotations

import asyncio
import faulthandler
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from workflows import (
    ExecutionFailed,
    Worker,
    WorkflowsError,
    activity,
    client,
    job,
    sleep,
    wait_for_signal,
    workflow,
)

T = TypeVar("T")

PATIENCE = 15
TRIES = 3


@job
async def double(n: int) -> int:
    return 2 * n


@activity
async def increment(n: int) -> int:
    return n + 1


@workflow
async def flow() -> int:
    await sleep(0.02)
    return await increment.run(await wait_for_signal("n", int))


async def again(what: str, act: Callable[[], Awaitable[T]]) -> T | None:
    """Do it until it works: a panic is an error, once. What has failed for good is an answer."""
    for _ in range(TRIES):
        try:
            return await asyncio.wait_for(act(), PATIENCE)
        except ExecutionFailed as error:
            print(f"{what}: {error}", file=sys.stderr)
            return None
        except TimeoutError:
            faulthandler.dump_traceback()
            sys.exit(f"{what}: nobody answers")
        except WorkflowsError as error:
            print(f"{what}: {type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(f"{what}: it does not work afterwards either")


async def work(over: asyncio.Event) -> None:
    """Run one worker: a panic is no reason for another."""
    worker = Worker(heartbeat_timeout=2, poll_interval=0.1)
    stopping = asyncio.create_task(stop(worker, over))
    await worker.run(handle_signals=False)
    stopping.cancel()


async def stop(worker: Worker, over: asyncio.Event) -> None:
    await over.wait()
    worker.stop()


async def life() -> None:
    over = asyncio.Event()
    await again("migrating", client().migrate)
    working = asyncio.create_task(work(over))
    doubled = await again("a job", lambda: double.queue(4))
    started = await again("a workflow", lambda: flow.queue())
    assert doubled is not None
    assert started is not None
    await again("a signal", lambda: started.signal("n", 6))
    assert await again("the job's result", doubled.result) in (8, None)
    assert await again("the workflow's result", started.result) in (7, None)
    over.set()
    await asyncio.wait_for(working, 2 * PATIENCE)
    await again("closing", lambda: asyncio.to_thread(client().close))


if __name__ == "__main__":
    asyncio.run(life())
    print("lived")
