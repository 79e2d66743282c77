"""Cancels and stops."""

from __future__ import annotations

import signal
import time

import pytest
from crash_functions import crash_held_job, crash_job, crash_one_signal, crash_sleeper
from crash_stage import MARGIN, POLL, Stage
from workflows import ExecutionCancelled


async def test_a_workflow_cancelled_while_it_is_pending_never_runs(stage: Stage) -> None:
    """C1."""
    handle = await stage.queue(crash_one_signal)
    assert await handle.cancel("not wanted") == {"status": "cancelled", "changed": True}
    behind = await stage.queue(crash_job, 1)
    stage.spawn("only", concurrency=1)
    assert await behind.result(20) == 1
    assert stage.count("began", "signal") == 0
    with pytest.raises(ExecutionCancelled, match="not wanted"):
        await handle.result(1)


async def test_a_workflow_that_sleeps_for_an_hour_is_cancelled_within_a_poll(stage: Stage) -> None:
    """C1: and never wakes, also when the worker is another one by then."""
    handle = await stage.queue(crash_sleeper, 3600)
    first = await stage.start("first")
    await stage.saw("began", "sleep")
    await stage.is_in(handle, "suspended")
    first.kill()
    await stage.start("second")
    asked = time.monotonic()
    assert (await handle.cancel())["changed"]
    with pytest.raises(ExecutionCancelled):
        await handle.result(20)
    assert time.monotonic() - asked < POLL + MARGIN
    assert await handle.status() == "cancelled"
    assert stage.count("woke") == 0


async def test_cancelling_what_has_finished_changes_nothing_and_says_so(stage: Stage) -> None:
    """C4."""
    stage.spawn("only")
    job = await stage.queue(crash_job, 1)
    workflow = await stage.queue(crash_one_signal)
    await workflow.signal("go", 2)
    assert (await job.result(20), await workflow.result(20)) == (1, 2)
    for handle in (job, workflow):
        before = await stage.get(handle)
        assert await handle.cancel() == {"status": "completed", "changed": False}
        assert await stage.get(handle) == before


async def drains(stage: Stage) -> None:
    """Wait until the only worker claims no more."""

    async def statuses() -> list[str]:
        return [worker["status"] for worker in (await stage.client.stats())["workers"]]

    await stage.becomes(statuses, ["draining"])


async def test_sigterm_lets_what_runs_finish_and_claims_no_more(stage: Stage) -> None:
    """T9."""
    running = await stage.queue(crash_held_job)
    worker = await stage.start("only")
    await stage.saw("began", "held")
    worker.send(signal.SIGTERM)
    await drains(stage)
    behind = await stage.queue(crash_job, 1)
    stage.open("only")
    assert await stage.exits(worker) == 0, worker.output
    assert await running.result(1) == "only"
    assert await behind.status() == "pending"
    assert stage.count("began", "job 1") == 0
    assert (await stage.get(running))["attempts"] == 1


async def test_a_second_sigterm_puts_back_what_runs_at_once(stage: Stage) -> None:
    """T9: it counts as no attempt."""
    handle = await stage.queue(crash_held_job)
    first = await stage.start("first")
    await stage.saw("began", "held", by="first")
    first.send(signal.SIGTERM)
    await drains(stage)  # two signals of one kind at once would be one
    first.send(signal.SIGTERM)
    stage.spawn("second")
    await stage.saw("began", "held", by="second")
    stage.open("second")
    assert await handle.result(20) == "second"
    assert await stage.exits(first) == 0, first.output
    row = await stage.get(handle)
    assert (row["attempts"], row["failures"], row["crashes"]) == (1, 0, 0)
    assert row["releases"] == 1
