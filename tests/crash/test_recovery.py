"""What a dead, stopped or blocked worker held."""

from __future__ import annotations

import re
import signal

import pytest
from crash_functions import (
    crash_activity_elsewhere,
    crash_blocks_the_loop,
    crash_blocks_the_loop_until,
    crash_failing,
    crash_held_in_a_thread,
    crash_held_job,
    crash_holds_the_gil,
    crash_job,
    crash_killed_in_activity,
    crash_killed_in_step,
    crash_killed_in_workflow,
    crash_poison,
)
from crash_stage import HEARTBEAT_TIMEOUT, HERE, MARGIN, PATIENCE, POLL, Stage, WorkerProcess
from workflows import ExecutionFailed, Function


@pytest.mark.parametrize(("retries", "runs"), [(3, 4), (0, 1)])
async def test_retries_limit_how_often_a_body_runs(stage: Stage, retries: int, runs: int) -> None:
    """T1."""
    handle = await stage.queue(crash_failing.options(retries=retries))
    stage.spawn("only")
    with pytest.raises(ExecutionFailed, match="no"):
        await handle.result(20)
    assert stage.count("began", "failing") == runs
    row = await stage.get(handle)
    assert (row["attempts"], row["failures"]) == (runs, runs)


async def test_what_a_killed_worker_held_starts_elsewhere_in_time(stage: Stage) -> None:
    """T5."""
    handle = await stage.queue(crash_held_job)
    first = await stage.start("first")
    await stage.saw("began", "held", by="first")
    await stage.start("second")
    killed = first.kill()
    began = (await stage.saw("began", "held", by="second"))["at"]
    assert began - killed < HEARTBEAT_TIMEOUT + POLL + MARGIN
    stage.open("second")
    assert await handle.result(20) == "second"
    row = await stage.get(handle)
    assert (row["attempts"], row["failures"]) == (2, 0)


async def test_a_dead_worker_of_a_workflow_never_issues_its_activity_again(stage: Stage) -> None:
    """T5."""
    handle = await stage.queue(crash_activity_elsewhere)
    await stage.start("activities", "elsewhere")
    first = await stage.start("first")
    await stage.saw("began", "elsewhere")
    first.kill()
    second = await stage.start("second", warm=0)
    second.kill()
    stage.open("go")
    await stage.start("third")
    assert await handle.result(20) == "activities"
    assert stage.count("began", "elsewhere") == stage.count("ended", "elsewhere") == 1
    types = await stage.types(handle)
    assert types.count("activity_scheduled") == types.count("activity_completed") == 1
    children = (await stage.client.list(parent_id=handle.id))["executions"]
    assert [child["attempts"] for child in children] == [1]


def says_lost(worker: WorkerProcess) -> bool:
    """Say whether a late write was refused, or the body was dropped before its write."""
    dropped = re.search(r"lease of .* was lost", worker.output)
    return dropped is not None or "no longer held under this lease" in worker.output


@pytest.mark.parametrize("job", [crash_held_job, crash_held_in_a_thread])
async def test_the_late_result_of_a_stopped_worker_is_refused(
    stage: Stage, job: Function[[], str]
) -> None:
    """T6."""
    handle = await stage.queue(job)
    first = await stage.start("first")
    await stage.saw("began", "held", by="first")
    first.send(signal.SIGSTOP)
    await stage.start("second")
    await stage.saw("began", "held", by="second")
    stage.open("first")
    first.send(signal.SIGCONT)
    await stage.until(lambda: says_lost(first), "the lease to be lost")
    assert await handle.status() == "running"
    stage.open("second")
    assert await handle.result(20) == "second"

    # It starts anew, and works on.
    second = stage.workers[1]
    second.send(signal.SIGTERM)
    assert await stage.exits(second) == 0
    again = await stage.queue(crash_job, 7)
    assert await again.result(20) == 7
    assert (await stage.saw("ended", "job 7"))["worker"] == "first"
    row = await stage.get(handle)
    assert (row["status"], row.get("result"), row["attempts"]) == ("completed", "second", 2)


async def test_the_late_result_of_an_activity_is_not_recorded_beside_the_other(
    stage: Stage,
) -> None:
    """T6."""
    handle = await stage.queue(crash_killed_in_activity)
    first = await stage.start("first")
    await stage.saw("began", "activity", by="first")
    first.send(signal.SIGSTOP)
    await stage.start("second")
    await stage.saw("began", "activity", by="second")
    stage.open("go")
    assert await handle.result(20) == "4 second"
    first.send(signal.SIGCONT)
    await stage.until(lambda: says_lost(first), "the lease to be lost")
    assert await handle.result(1) == "4 second"
    types = await stage.types(handle)
    assert types.count("activity_scheduled") == types.count("activity_completed") == 2


async def test_a_busy_body_is_not_taken_away(stage: Stage) -> None:
    """T8: for ten times the heartbeat timeout one body blocks the loop, another holds the GIL."""
    duration = 10 * HEARTBEAT_TIMEOUT
    jobs = {"loop": crash_blocks_the_loop, "gil": crash_holds_the_gil}
    handles = {
        what: await stage.queue(job.options(queue=what), duration) for what, job in jobs.items()
    }
    for what in jobs:
        await stage.start(what, what)
        await stage.saw("began", what)
    await stage.start("thief", *jobs)
    for what, handle in handles.items():
        assert await handle.result(duration + 10) == what
        assert stage.count("began", what) == 1
        assert (await stage.get(handle))["attempts"] == 1
        [began], [ended] = stage.entries("began", what), stage.entries("ended", what)
        assert ended["at"] - began["at"] >= duration - 0.1


async def test_what_a_blocked_loop_was_given_goes_to_others_and_it_is_told_of(
    stage: Stage,
) -> None:
    """T8: what it runs stays its own, and what it has not heard of is put back."""
    busy = await stage.queue(crash_blocks_the_loop_until.options(queue="loop"), "on")
    worker = await stage.start("loop", "loop")
    await stage.saw("began", "loop")
    given = await stage.queue(crash_job.options(queue="loop"), 7)  # to its open claim
    await stage.is_in(given, "running")
    await stage.start("other", "loop")
    assert await given.result(PATIENCE) == 7
    await stage.until(lambda: "has taken no reply for more than 4s" in worker.output, "the word")
    stage.open("on")
    assert await busy.result(PATIENCE) == "loop"
    await stage.until(lambda: "this process goes on" in worker.output, "the word of its end")
    assert await (await stage.queue(crash_job.options(queue="loop"), 8)).result(PATIENCE) == 8
    assert [entry["worker"] for entry in stage.entries("began", "job 7")] == ["other"]
    assert (await stage.get(given))["attempts"] == 1


@pytest.mark.parametrize(
    ("workflow", "what"),
    [
        (crash_killed_in_activity, "activity"),
        (crash_killed_in_step, "step"),
        (crash_killed_in_workflow, "workflow"),
    ],
)
async def test_killed_in_the_middle_it_finishes_on_another_worker(
    stage: Stage, workflow: Function[[], str], what: str
) -> None:
    """T5: an activity, a step, the workflow's own code; what was recorded is not run again."""
    handle = await stage.queue(workflow)
    first = await stage.start("first")
    await stage.saw("began", what, by="first")
    first.kill()
    stage.open("go")
    await stage.start("second")
    assert await handle.result(20) == "4 second"
    assert [entry["worker"] for entry in stage.entries("began", what)] == ["first", "second"]
    assert [entry["worker"] for entry in stage.entries("ended", what)] == ["second"]
    assert stage.count("began", "square 2") == 1
    row = await stage.get(handle)
    assert (row["failures"], row["crashes"]) == (0, 0)


async def test_a_body_that_kills_its_worker_is_parked_and_the_others_finish(stage: Stage) -> None:
    """T10."""
    poison = await stage.queue(crash_poison)
    innocent = [await stage.queue(crash_job, n, 0.3) for n in range(5)]
    for death in range(3):
        worker = stage.spawn(f"mortal {death}")
        assert await stage.exits(worker) == -signal.SIGKILL, worker.output
    stage.spawn("last")
    await stage.is_in(poison, "failed")
    assert stage.count("began", "poison") == 3
    with pytest.raises(ExecutionFailed, match="worker"):
        await poison.result(1)
    assert (await stage.get(poison)).get("parked")
    for n, handle in enumerate(innocent):
        assert await handle.result(PATIENCE) == n


async def test_every_late_write_is_refused_with_lease_lost(stage: Stage) -> None:
    """T6."""
    job = await stage.queue(crash_held_job)
    workflow = await stage.queue(crash_killed_in_activity)
    late = stage.run("late", str(HERE / "crash_late.py"), job.id, workflow.id)
    await stage.saw("claimed", "both")
    late.send(signal.SIGSTOP)
    await stage.start("second")
    await stage.saw("began", "held", by="second")
    await stage.saw("began", "activity", by="second")
    before = [await stage.get(job), await stage.get(workflow)]
    history = await stage.client.history(workflow.id)
    stage.open("write")
    late.send(signal.SIGCONT)
    assert await stage.exits(late) == 0, late.output
    answers = {entry["what"]: entry["code"] for entry in stage.entries("answered")}
    assert len(answers) == 7
    assert set(answers.values()) == {"lease_lost"}, answers
    assert [await stage.get(job), await stage.get(workflow)] == before
    assert await stage.client.history(workflow.id) == history
    stage.open("second")
    stage.open("go")
    assert await job.result(20) == "second"
    assert await workflow.result(20) == "4 second"
