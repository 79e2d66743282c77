"""A client and a worker in one process, in which a failpoint panics once, somewhere.

    panic_program.py [life|locked|suspect]

The process has to live on, whoever waits has to be answered, and what is tried again has to work.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from program_run import select
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
from workflows._engine import Engine
from workflows._library import Library

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


@asynccontextmanager
async def working() -> AsyncGenerator[None]:
    """Run one worker meanwhile: a panic is no reason for another."""
    worker = Worker(heartbeat_timeout=2, poll_interval=0.1)
    running = asyncio.create_task(worker.run(handle_signals=False))
    yield
    worker.stop()
    await asyncio.wait_for(running, 2 * PATIENCE)


async def life() -> None:
    await again("migrating", client().migrate)
    await again("the command line", command_line)
    async with working():
        doubled = await again("a job", lambda: double.queue(4))
        started = await again("a workflow", lambda: flow.queue())
        assert doubled is not None
        assert started is not None
        await again("a signal", lambda: started.signal("n", 6))
        assert await again("the job's result", doubled.result) in (8, None)
        assert await again("the workflow's result", started.result) in (7, None)
    await again("closing", close)


async def command_line() -> None:
    """Have the library's command line refuse something: it answers, and on stderr."""
    arguments = ["workflows", "no-such-command"]
    assert await asyncio.to_thread(Library.get().run_command_line, arguments) == 2


async def close() -> None:
    """Close the session while another keeps the engine, which then has to stop its worker."""
    other = Engine(client().engine.config)
    await asyncio.to_thread(other.open)
    await asyncio.to_thread(client().close)
    await asyncio.to_thread(other.close)


async def locked() -> None:
    """Cancel what somebody else has locked for longer than a batch waits: it is set aside."""
    await again("migrating", client().migrate)
    job = await again("a job", lambda: double.options(delay=3600).queue(4))
    assert job is not None
    holding = asyncio.create_task(sql(f"SELECT {ROW} FOR UPDATE; SELECT pg_sleep(3)"))
    while await sql(f"SELECT {ROW} FOR UPDATE SKIP LOCKED"):
        pass
    await again("a cancel", job.cancel)
    assert (await client().get(job.id))["status"] == "cancelled"
    await holding
    await again("closing", close)


async def suspect() -> None:
    """Run what has crashed its worker twice: it is alone, and its end wakes the others."""
    await again("migrating", client().migrate)
    job = await again("a job", lambda: double.queue(4))
    assert job is not None
    await sql(f"UPDATE {TABLE} SET crashes = 2")
    async with working():
        assert await again("the job's result", job.result) == 8
        following = await again("another job", lambda: double.queue(5))
        assert following is not None
        assert await again("its result", following.result) == 10
    await again("closing", close)


TABLE = f"{os.environ['WORKFLOWS_SCHEMA']}.executions"
ROW = f"'a row' FROM {TABLE}"  # there is one


async def sql(query: str) -> list[str]:
    return await select(os.environ["WORKFLOWS_DATABASE_URL"], query)


if __name__ == "__main__":
    scenes = {scene.__name__: scene for scene in (life, locked, suspect)}
    asyncio.run(scenes[sys.argv[1] if len(sys.argv) > 1 else "life"]())
    print("lived")
