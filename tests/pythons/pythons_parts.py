"""What the programs are made of: waits that publish what they came to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from pythons_trees import Oops, work
from workflows import set_state, sleep, wait_for_signal


async def one(name: Any, *ends: Awaitable[Any]) -> Any:
    """Awaits, publishes, and publishes what it was stopped by."""
    result: Any = None
    try:
        for each in ends:
            result = await each
    except BaseException as error:
        set_state([name, type(error).__name__])
        raise
    set_state(name)
    return result


async def ticking(name: str, times: int = 8) -> None:
    """Publishes once a turn, so that others are seen to come before or after."""
    for at in range(times):
        set_state([name, at])
        await asyncio.sleep(0)


def raising(name: str) -> Any:
    """A coroutine that fails after one turn."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise Oops(name)

    return fail()


def beside(number: int) -> Any:
    """Three things that end in any order: an activity, a sleep and a signal."""
    return [
        one("a", work.run(number)),
        one("s", sleep(number)),
        one("x", wait_for_signal("x", timeout=2 * number)),
    ]
