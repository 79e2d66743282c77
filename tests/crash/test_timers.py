"""Timers, and workers that die under them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from crash_functions import crash_sleeper, crash_waiter
from crash_stage import MARGIN, Stage
from workflows import Function


@pytest.mark.parametrize(
    ("workflow", "what", "result"),
    [(crash_sleeper, "sleep", "woke"), (crash_waiter, "wait", "SignalTimeout")],
)
async def test_a_kill_half_way_does_not_start_a_timer_anew(
    stage: Stage, workflow: Function[[float], Any], what: str, result: str
) -> None:
    """O1, S8: killed after one second of two, the next worker after one and a half."""
    first = await stage.start("first")
    handle = await stage.queue(workflow, 2)
    began = (await stage.saw("began", what))["at"]
    await stage.is_in(handle, "suspended")
    await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))
    first.kill()
    await asyncio.sleep(max(0.0, began + 1.5 - time.monotonic()))
    await stage.start("second")
    serves = time.monotonic()
    assert await handle.result(20) == result
    [woke] = stage.entries("woke")
    assert woke["at"] - began >= 1.95
    # A busy machine may take longer than half a second to start a worker.
    assert woke["at"] < max(began + 2, serves) + MARGIN
    assert woke["worker"] == "second"
    types = await stage.types(handle)
    assert types.count("timer_started") == types.count("timer_fired") == 1
