"""The durable functions that the workers of these tests run."""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from crash_journal import blocking_gate, die_once, gate, note, worker
from workflows import (
    activity,
    gather,
    is_replaying,
    job,
    now,
    random,
    sleep,
    step,
    uuid4,
    wait_for_signal,
    workflow,
)

# --- jobs -------------------------------------------------------------------------------


@job(retries=0)
async def crash_job(n: int, pause: float = 0) -> int:
    note("began", f"job {n}")
    if pause:
        await asyncio.sleep(pause)
    note("ended", f"job {n}")
    return n


@job(retries=0)
async def crash_held_job() -> str:
    """Wait at the gate of the worker that runs it, and answer its name."""
    note("began", "held")
    await gate(worker())
    note("ended", "held")
    return worker()


@job(retries=0)
def crash_held_in_a_thread() -> str:
    note("began", "held")
    blocking_gate(worker())
    note("ended", "held")
    return worker()


@job(initial=0.05, max=0.1)
async def crash_failing() -> None:
    note("began", "failing")
    raise ValueError("no")


@job(retries=0)
async def crash_blocks_the_loop_until(gate: str) -> str:
    note("began", "loop")
    blocking_gate(gate)
    note("ended", "loop")
    return worker()


@job(retries=0)
async def crash_blocks_the_loop(duration: float) -> str:
    note("began", "loop")
    time.sleep(duration)  # noqa: ASYNC251  # what the test is about
    note("ended", "loop")
    return worker()


@job(retries=0)
def crash_holds_the_gil(duration: float) -> str:
    note("began", "gil")
    ctypes.PyDLL(None).sleep(round(duration))  # a PyDLL keeps the GIL during the call
    note("ended", "gil")
    return worker()


@job(retries=0)
def crash_poison() -> None:
    note("began", "poison")
    for death in range(10):
        die_once(f"of poison {death}")


# --- activities, steps and workflows that hold on, each at the gate "go" ------------------


@activity(retries=0)
async def crash_square(n: int) -> int:
    note("began", f"square {n}")
    note("ended", f"square {n}")
    return n * n


@activity(retries=0)
async def crash_held_activity() -> str:
    note("began", "activity")
    await gate("go")
    note("ended", "activity")
    return worker()


@activity(retries=0, queue="elsewhere")
async def crash_held_elsewhere() -> str:
    note("began", "elsewhere")
    await gate("go")
    note("ended", "elsewhere")
    return worker()


@step(retries=0)
async def crash_held_step() -> str:
    note("began", "step")
    await gate("go")
    note("ended", "step")
    return worker()


@workflow
async def crash_killed_in_activity() -> str:
    before = await crash_square.run(2)
    return f"{before} {await crash_held_activity.run()}"


@workflow
async def crash_killed_in_step() -> str:
    before = await crash_square.run(2)
    return f"{before} {await crash_held_step.run()}"


@workflow
async def crash_killed_in_workflow() -> str:
    before = await crash_square.run(2)
    note("began", "workflow")
    blocking_gate("go")  # its own code is busy, which takes no await
    note("ended", "workflow")
    return f"{before} {worker()}"


@workflow
async def crash_activity_elsewhere() -> str:
    note("began", "workflow")
    return await crash_held_elsewhere.run()


# --- replay -----------------------------------------------------------------------------


@workflow
async def crash_after_each() -> list[int]:
    """Die right after each completion was recorded, before the next command."""
    squares: list[int] = []
    for n in range(5):
        squares.append(await crash_square.run(n))
        die_once(f"after {n}")
    return squares


@workflow
async def crash_long() -> int:
    total = 0
    for n in range(60):
        total += await crash_square.run(n)
        if n == 30:
            die_once("half-way")
    note("ended", "long")
    return total


@workflow
async def crash_chances() -> list[list[Any]]:
    drawn: list[list[Any]] = []

    def draw(what: str) -> None:
        drawn.append([now().isoformat(), str(uuid4()), str(uuid4()), random(), random()])
        note("drew", what, values=drawn[-1], replaying=is_replaying())

    draw("first")
    await crash_square.run(3)
    draw("second")
    await wait_for_signal("go")
    draw("third")
    await sleep(0.01)
    draw("fourth")
    return drawn


@asynccontextmanager
async def _noted(what: str) -> AsyncGenerator[None]:
    try:
        yield
    except BaseException as error:
        note("ran", f"except of {what}", error=repr(error))
        raise
    finally:
        note("ran", f"finally of {what}")


async def _guarded(what: str) -> None:
    async with _noted(f"manager {what}"):
        try:
            if what == "sleep":
                await sleep("1h")
            elif what == "activity":
                await crash_held_elsewhere.run()
            else:
                await wait_for_signal(what)
        except Exception as error:
            note("ran", f"except of {what}", error=repr(error))
            raise
        finally:
            note("ran", f"finally of {what}")


@workflow
async def crash_guarded() -> str:
    """Suspend in blocks with `except` and `finally`, alone and as a task."""
    note("began", "guarded")
    task = asyncio.ensure_future(_guarded("activity"))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_guarded("first"))
            group.create_task(_guarded("second"))
        await task
    except Exception as error:
        note("ran", "except of root", error=repr(error))
        raise
    finally:
        note("ran", "finally of root")
    return "done"


# --- signals and timers -------------------------------------------------------------------


@workflow
async def crash_one_signal() -> Any:
    note("began", "signal")
    return await wait_for_signal("go")


@workflow
async def crash_three_signals() -> list[Any]:
    got: list[Any] = []
    for _ in range(3):
        got.append(await wait_for_signal("go"))
        note("got", str(got[-1]))
    return got


@workflow
async def crash_b_before_a() -> list[Any]:
    b = await wait_for_signal("b")
    note("got", "b")
    return [b, await wait_for_signal("a")]


@workflow
async def crash_sleeper(duration: float) -> str:
    note("began", "sleep")
    await sleep(duration)
    note("woke", "sleep")
    return "woke"


@workflow
async def crash_waiter(timeout: float) -> str:  # noqa: ASYNC109
    note("began", "wait")
    try:
        return await wait_for_signal("never", timeout=timeout)
    except Exception as error:
        note("woke", "wait")
        return type(error).__name__


# --- parallel -----------------------------------------------------------------------------


@activity(retries=0)
async def crash_takes(name: str, duration: float) -> str:
    note("began", name)
    await asyncio.sleep(duration)
    note("ended", name)
    return name


@activity(retries=0)
async def crash_gated(name: str) -> str:
    note("began", name)
    await gate(name)
    note("ended", name)
    return name


@workflow
async def crash_three_at_once() -> list[str]:
    return await gather(*(crash_takes.run(name, 1 - at / 10) for at, name in enumerate("abc")))


@workflow
async def crash_three_gated() -> list[list[str]]:
    order: list[str] = []

    async def one(name: str) -> str:
        got = await crash_gated.run(name)
        order.append(got)
        note("applied", got)
        return got

    got = await gather(*(one(name) for name in "abc"))
    return [list(got), order]


@workflow
async def crash_busy(n: int) -> int:
    """Do a bit of everything."""
    first, second = await gather(crash_square.run(n), crash_square.run(n + 1))
    await sleep(0.3)
    return first + second + await crash_square.run(n + 2)
