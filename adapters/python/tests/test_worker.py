"""The worker, against the engine in memory."""

import asyncio
import contextvars
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from workflows._attempts import attempt_info, cancelled, heartbeat, last_heartbeat
from workflows._combinators import gather, race
from workflows._errors import NonRetryableError
from workflows._functions import activity, job, step, workflow
from workflows._operations import Operation
from workflows._workflow import send_signal, sleep, wait_for_signal

from .rig import Rig, until


@pytest.mark.parametrize("warm", [0, 100])
async def test_a_workflow_runs_to_its_end(rig: Rig, warm: int) -> None:
    @activity
    async def plus(x: int) -> int:
        return x + 1

    @activity
    def twice(x: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return 2 * x

    @step
    async def minus(x: int) -> int:
        return x - 1

    @workflow
    async def w(x: int) -> int:
        first, second = await gather(plus.run(x), twice.run(x))
        await sleep(3600)
        return await minus.run(first + second)

    row = await rig.run(w, 10, warm=warm)
    assert (row.status, row.result) == ("completed", 30)


@pytest.mark.parametrize("holds", [True, False])
async def test_a_step_waits_until_a_workflow_that_began_early_has_started(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, holds: bool
) -> None:
    seen: list[str] = []
    perform = rig.engine.perform

    def early(operation: Operation, request: Mapping[str, Any]) -> Any:
        if operation is Operation.ADVANCE_WORKFLOW and not seen:
            seen.append("asked")
            if not holds:  # somebody else has it
                rig.engine.steal(rig.engine.rows[request["items"][0]["id"]])
        reply = perform(operation, request)
        if operation is Operation.CLAIM and not seen:
            for claimed in reply["executions"]:
                claimed["early"] = True
        return reply

    monkeypatch.setattr(rig.engine, "perform", early)

    @step
    async def minus(x: int) -> int:
        seen.append("ran")
        return x - 1

    @workflow
    async def w(x: int) -> int:
        return await minus.run(x)

    row = await rig.run(w, 10)
    assert (row.status, row.result) == ("completed", 9)
    assert seen == ["asked", "ran"]


async def test_a_suspended_workflow_holds_no_slot(rig: Rig) -> None:  # G7
    @workflow(name="leaf")
    async def leaf(x: int) -> int:
        return x

    @workflow
    async def w() -> int:
        return sum(await gather(*[leaf.run(n) for n in range(20)]))

    assert (await rig.run(w, concurrency=1)).result == sum(range(20))


@pytest.mark.parametrize(("retries", "times"), [(0, 1), (3, 4)])
async def test_retries_count_failures(rig: Rig, retries: int, times: int) -> None:  # T1
    ran: list[int] = []

    @job(retries=retries)
    def fails() -> None:
        ran.append(attempt_info().attempt)
        raise ValueError("no")

    row = await rig.run(fails)
    assert row.status == "failed"
    assert row.error["type"] == "ValueError"
    assert "test_worker.py" in row.error["stack"]
    assert ran == list(range(1, times + 1))


async def test_types_that_are_not_retried(rig: Rig) -> None:  # T4
    class Declined(NonRetryableError): ...

    class Special(KeyError): ...

    ran: list[str] = []

    @job(retries=3)
    def declined() -> None:
        ran.append("declined")
        raise Declined

    @job(retries=3, non_retryable=[LookupError])
    async def special() -> None:
        ran.append("special")
        raise Special("x")

    await rig.run(declined)
    await rig.run(special)
    assert ran == ["declined", "special"]


@pytest.mark.parametrize(
    "stop",
    [
        SystemExit(1),
        KeyboardInterrupt(),
        GeneratorExit(),
        StopIteration(),
        StopAsyncIteration(),
        BaseException("x"),
    ],
)
async def test_the_worker_survives_whatever_a_body_raises(rig: Rig, stop: BaseException) -> None:
    def bad() -> None:
        raise stop

    async def bad_async() -> None:
        raise stop

    @job
    async def good() -> str:
        return "alive"

    for function in (bad, bad_async):
        row = await rig.run(job(name=function.__name__, retries=0)(function))
        assert row.status == "failed"
    flow = workflow(name="w")(bad_async)
    assert (await rig.run(flow)).status == "failed"
    assert (await rig.run(good)).result == "alive"


async def test_an_unknown_function_is_put_back(rig: Rig) -> None:  # R17
    row = rig.engine.create({"kind": "job", "name": "nowhere"})
    await rig.start()
    await until(lambda: row.released == "no_function")
    assert row.failures == 0


async def test_what_was_put_back_once_is_left_to_others(rig: Rig) -> None:
    """R17: and a function that comes later runs."""
    first = rig.engine.create({"kind": "job", "name": "late"})
    await rig.start()
    await until(lambda: first.released == "no_function")
    second = rig.engine.create({"kind": "job", "name": "late"})

    @job
    async def other() -> None: ...

    await rig.run(other)
    assert (second.status, second.released) == ("pending", None)

    @job(name="late")
    async def late() -> str:
        return "here"

    await rig.run(other)  # the next claim
    assert (await rig.end(second)).result == "here"


async def test_an_attempt_that_takes_too_long(rig: Rig) -> None:  # T12
    stopped, release = list[str](), threading.Event()

    @job(timeout=0.02, retries=0)
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append("async")

    @job(timeout=0.02, retries=0)
    def slow_sync() -> str:
        release.wait(5)
        stopped.append(f"sync {cancelled()}")
        return "too late"

    for function in (slow, slow_sync):
        row = await rig.run(function)
        assert row.status == "failed"
        assert row.error["type"] == "AttemptTimeout"
        assert row.failures == 1
    release.set()
    await until(lambda: stopped == ["async", "sync True"])


async def test_a_cancel_reaches_the_body(rig: Rig) -> None:  # C2
    async_began, sync_began = asyncio.Event(), threading.Event()

    @job
    async def endless() -> None:
        async_began.set()
        await asyncio.sleep(3600)

    @job
    def endless_sync() -> int:
        sync_began.set()
        for _ in range(5000):
            if cancelled():
                return 1
            threading.Event().wait(0.001)
        return 0

    await rig.start()
    first, second = rig.queue(endless), rig.queue(endless_sync)
    await async_began.wait()
    await until(sync_began.is_set)
    rig.engine.stop(first)
    rig.engine.stop(second)
    assert (await rig.end(first)).status == (await rig.end(second)).status == "cancelled"


async def test_a_cancel_reaches_a_workflow_whose_step_runs(rig: Rig) -> None:
    began = asyncio.Event()
    log: list[str] = []

    @step
    async def endless() -> None:
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            log.append("step stopped")

    @activity
    async def undo() -> None:
        log.append("undone")

    @workflow
    async def w() -> None:
        try:
            await endless.run()
        except asyncio.CancelledError:
            await undo.run()
            raise

    await rig.start()
    row = rig.queue(w)
    await began.wait()
    rig.engine.stop(row)
    assert (await rig.end(row)).status == "cancelled"
    assert sorted(log) == ["step stopped", "undone"]


async def test_a_signal_reaches_a_workflow_whose_step_runs(rig: Rig) -> None:
    began, finish = asyncio.Event(), asyncio.Event()

    @step
    async def slow() -> int:
        began.set()
        await finish.wait()
        return 1

    @workflow
    async def w() -> list[Any]:
        work = slow.run()
        found = await wait_for_signal("s")
        finish.set()
        return [found, await work]

    await rig.start()
    row = rig.queue(w)
    await began.wait()
    await rig.signal(row.id, "s", "news", None)
    assert (await rig.end(row)).result == ["news", 1]


async def test_a_lost_lease_stops_the_body_and_drops_its_result(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    began = asyncio.Queue[int]()
    ended: list[str] = []

    @job
    async def slow() -> int:
        number = len(ended) + 1
        began.put_nowait(number)
        try:
            await asyncio.sleep(0 if ended else 3600)
        finally:
            ended.append("x")
        return number

    await rig.start()
    row = rig.queue(slow)
    await began.get()
    rig.engine.steal(row)
    assert (await rig.end(row)).result == 2
    assert len(ended) == 2


async def test_a_workflow_whose_lease_is_lost_goes_on_from_its_history(rig: Rig) -> None:
    bodies: list[int] = []
    held, finish = asyncio.Event(), asyncio.Event()

    @activity
    async def a(x: int) -> int:
        bodies.append(x)
        return x

    @step
    async def slow() -> None:
        held.set()
        await finish.wait()

    @workflow
    async def w() -> int:
        total = await a.run(1) + await a.run(2)
        await slow.run()
        return total

    await rig.start()
    row = rig.queue(w)
    await held.wait()
    finish.set()
    rig.engine.steal(row)
    assert (await rig.end(row)).result == 3
    assert bodies == [1, 2]


async def test_progress_is_there_for_the_next_attempt(rig: Rig) -> None:
    seen: list[Any] = []

    @job(retries=1)
    async def counts() -> None:
        seen.append(last_heartbeat())
        heartbeat({"done": 5})
        await asyncio.sleep(0.1)
        if len(seen) == 1:
            raise ValueError

    row = await rig.run(counts)
    assert row.status == "completed"
    assert seen == [None, {"done": 5}]


async def test_context_variables_reach_threads_and_not_other_executions(rig: Rig) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    @job
    def sync() -> str:
        found = variable.get()
        variable.set("set")
        return f"{found} {attempt_info().name}"

    assert (await rig.run(sync)).result == (await rig.run(sync)).result == f"unset {sync.name}"


async def test_steps_are_retried_where_they_are(rig: Rig) -> None:
    ran: list[int] = []

    @step(retries=2, initial=0.001)
    async def third_time() -> int:
        ran.append(1)
        if len(ran) < 3:
            raise ValueError
        return len(ran)

    @workflow
    async def w() -> int:
        return await third_time.run()

    assert (await rig.run(w)).result == 3


async def test_code_that_does_not_fit_is_parked_with_its_message(rig: Rig) -> None:  # R2
    @activity(name="a")
    async def a() -> None: ...

    @activity(name="b")
    async def b() -> None: ...

    first = True

    @workflow
    async def w() -> None:
        nonlocal first
        await (a if first else b).run()
        first = False
        await wait_for_signal("go")

    await rig.start(warm=0)
    row = rig.queue(w)
    await until(lambda: row.status == "suspended" and not first)
    await rig.signal(row.id, "go", None, None)
    await until(lambda: row.parked)
    assert "the activity 'a'" in (row.parked or "")


async def test_workflows_signal_each_other(rig: Rig) -> None:
    @workflow(name="ping")
    async def ping(other: str) -> Any:
        await send_signal(other, "ball", 1)
        return "sent"

    @workflow(name="pong")
    async def pong() -> Any:
        return await wait_for_signal("ball", int, timeout=3600)

    await rig.start()
    row = rig.queue(pong)
    assert (await rig.run(ping, row.id)).result == "sent"
    assert (await rig.end(row)).result == 1


@pytest.mark.parametrize("warm", [0, 3])
async def test_a_small_cache_gives_the_same_results(rig: Rig, warm: int) -> None:
    @activity
    async def a(x: int) -> int:
        await asyncio.sleep(0)
        return x

    @workflow
    async def w(x: int) -> int:
        total = 0
        for n in range(4):
            name, value = await race(a=a.run(n * x), b=sleep(3600))
            total += value if name == "a" and value is not None else 0
        return total

    await rig.start(warm=warm, concurrency=7)
    rows = [rig.queue(w, n) for n in range(30)]
    for n, row in enumerate(rows):
        assert (await rig.end(row)).result == 6 * n


async def test_one_claim_asks_for_all_free_slots(rig: Rig) -> None:
    @job
    async def good() -> None: ...

    rows = [rig.queue(good) for _ in range(50)]
    await rig.start(concurrency=50)
    for row in rows:
        await rig.end(row)
    claims = [request["n"] for name, request in rig.engine.calls if name == "claim"]
    assert claims[0] == 50
    assert len(claims) <= 3
    completions = [request for name, request in rig.engine.calls if name == "complete_execution"]
    assert sum(len(request["items"]) for request in completions) == 50
    assert len(completions) <= 3
