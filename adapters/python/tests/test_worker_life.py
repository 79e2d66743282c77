"""A worker from its start to its end, and what it tells the log."""

import asyncio
import logging
from typing import Any

import pytest
from workflows._errors import DatabaseUnavailable
from workflows._functions import activity, job, step, workflow
from workflows._operations import Operation
from workflows._worker import Worker
from workflows._workflow import wait_for_signal

from .rig import Rig, until


async def test_a_drain_lets_finish_what_runs_and_claims_nothing_more(rig: Rig) -> None:  # T9
    began, finish = asyncio.Event(), asyncio.Event()

    @job
    async def slow() -> str:
        began.set()
        await finish.wait()
        return "done"

    worker = await rig.start(concurrency=1)
    first, second = rig.queue(slow), rig.queue(slow)
    await began.wait()
    worker.stop()
    asyncio.get_running_loop().call_later(0.02, finish.set)
    await worker.__aexit__(None, None, None)
    assert (first.status, second.status) == ("completed", "pending")


async def test_after_the_drain_time_the_rest_is_put_back_and_counts_as_no_attempt(
    rig: Rig,
) -> None:  # T9
    began = asyncio.Event()

    @job
    async def endless() -> None:
        began.set()
        await asyncio.sleep(3600)

    worker = await rig.start(drain_timeout=0.01)
    row = rig.queue(endless)
    await began.wait()
    worker.stop()
    await worker.__aexit__(None, None, None)
    assert row.status == "pending"
    assert row.failures == 0


async def test_the_end_of_a_worker_runs_no_suspended_code(rig: Rig) -> None:  # R10
    ran: list[str] = []

    @workflow
    async def w() -> None:
        try:
            await wait_for_signal("never")
        finally:
            ran.append("finally")

    worker = await rig.start()
    row = rig.queue(w)
    await until(lambda: row.status == "suspended")
    worker.stop()
    await worker.__aexit__(None, None, None)
    assert ran == []


async def test_a_database_that_comes_back_needs_no_restart(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:  # T15
    @job
    async def good() -> int:
        return 1

    failures = {Operation.CLAIM: 2, Operation.COMPLETE_EXECUTION: 2, Operation.PULL_EVENTS: 1}
    plain = rig.engine.call

    async def call(operation: Operation, request: Any) -> Any:
        if failures.get(operation, 0) > 0:
            failures[operation] -= 1
            raise DatabaseUnavailable("PostgreSQL is restarting")
        return await plain(operation, request)

    monkeypatch.setattr(rig.engine, "call", call)
    row = await rig.run(good)
    assert row.result == 1
    assert not any(failures.values())


async def test_what_cannot_be_waited_out_ends_the_worker_with_its_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows._errors import SchemaMissing

    plain = rig.engine.call

    async def call(operation: Operation, request: Any) -> Any:
        if operation is Operation.CLAIM:
            raise SchemaMissing("it was dropped")
        return await plain(operation, request)

    monkeypatch.setattr(rig.engine, "call", call)
    worker = Worker(functions=rig.registry)
    with pytest.raises(SchemaMissing):
        await worker.run(handle_signals=False)


async def test_the_outcome_of_a_lost_write_is_logged_and_not_raised(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    began, finish = asyncio.Event(), asyncio.Event()

    @job
    async def slow() -> None:
        began.set()
        await finish.wait()

    await rig.start()
    row = rig.queue(slow)
    await began.wait()
    with caplog.at_level(logging.INFO, "workflows"):
        row.token = "somebody else's"
        finish.set()
        await until(lambda: any("was not taken" in record.message for record in caplog.records))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "workflows"]


async def test_the_first_line_of_the_log_says_what_the_worker_serves(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(12):

        @activity(name=f"a{number:02}")
        async def a() -> None: ...

    @job
    async def only() -> None: ...

    with caplog.at_level(logging.INFO, "workflows"):
        await rig.start(queues=["mail", "orders"], concurrency=7)
    [line] = told(caplog)
    for part in ("queues mail orders", "7 at a time", "a08 a09 and 2 more", f"job {only.name}"):
        assert part in line


async def test_a_failure_is_one_line_of_the_log(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    @job(retries=1, initial=0.001)
    def declined() -> None:
        raise ValueError("no funds\nand more")

    @step(retries=0)
    def broken() -> None:
        raise KeyError("x")

    @workflow
    async def w() -> None:
        await broken.run()

    first, second = await rig.run(declined), await rig.run(w)
    assert told(caplog) == [
        f"job {declined.name} {first.id} failed in attempt 1: ValueError: no funds",
        f"job {declined.name} {first.id} failed in attempt 2: ValueError: no funds",
        f"step {broken.name} of workflow {w.name} {second.id} failed in attempt 1: KeyError: 'x'",
        f"workflow {w.name} {second.id} failed: StepError: KeyError: 'x'",
    ]
    stack = first.error["stack"]
    assert "no funds" in stack
    assert "_attempts.py" not in stack  # how a body is called says nothing about it


async def test_the_log_shows_nothing_that_a_terminal_obeys_or_a_file_cannot_hold(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    @job(retries=0)
    def odd() -> None:
        raise ValueError("no \x1b[31m\x00 \ud800 f\u00fcnds \U0001f600")

    await rig.run(odd)
    [line] = told(caplog)
    assert line.endswith(r"ValueError: no \x1b[31m\x00 \ud800 f" + "\u00fcnds \U0001f600")


async def test_what_was_cancelled_has_not_failed(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    began = asyncio.Event()

    @job
    async def slow() -> None:
        began.set()
        await asyncio.sleep(3600)

    await rig.start()
    row = rig.queue(slow)
    await began.wait()
    rig.engine.stop(row)
    await rig.end(row)
    assert told(caplog) == []


async def test_a_drain_says_what_it_waits_for(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    began, finish = asyncio.Event(), asyncio.Event()

    @job
    async def slow() -> None:
        began.set()
        await finish.wait()

    worker = await rig.start()
    row = rig.queue(slow)
    await began.wait()
    with caplog.at_level(logging.INFO, "workflows"):
        ending = asyncio.create_task(worker.__aexit__(None, None, None))
        await until(lambda: any("1 in number" in line for line in told(caplog)))
        finish.set()
        await ending
    assert row.status == "completed"
    assert told(caplog)[-1].endswith("executions put back: 0")
