"""What is done to executions from outside, and what is answered."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from crash_stage import PATIENCE, Stage, code
from workflows import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionNotFound,
    Handle,
    InvalidState,
    RemoteError,
    ResultTimeout,
    activity,
    gather,
    job,
    random,
    sleep,
    step,
    wait_for_signal,
    workflow,
)


class CardDeclined(Exception):
    pass


# --- retry --------------------------------------------------------------------------------------


async def test_a_retried_workflow_goes_on_from_its_history(stage: Stage) -> None:
    """O9: what had succeeded is not run again, what failed is asked for anew."""
    ran: Counter[str] = Counter()
    drawn: list[float] = []
    funds = asyncio.Event()
    with code() as functions:

        @activity(retries=0)
        async def reserve() -> str:
            ran["reserve"] += 1
            return "reserved"

        @step(retries=0)
        async def note() -> str:
            ran["note"] += 1
            return "noted"

        @activity(retries=0)
        async def charge() -> str:
            ran["charge"] += 1
            if not funds.is_set():
                raise CardDeclined("no funds")
            return "charged"

        @workflow
        async def order() -> list[Any]:
            first = await gather(reserve.run(), note.run())
            drawn.append(random())
            await sleep(0.01)
            signal = await wait_for_signal("go")
            return [*first, await charge.run(), signal]

    async with stage.serving(functions, warm=0):
        handle = await stage.queue(order)
        await handle.signal("go", "went")
        with pytest.raises(ExecutionFailed, match="no funds"):
            await handle.result(PATIENCE)
        funds.set()
        assert await stage.client.retry(handle.id) == {"status": "pending", "changed": True}
        result = await handle.result(PATIENCE)
        assert result == ["reserved", "noted", "charged", "went"]
        with pytest.raises(InvalidState):
            await stage.client.retry(handle.id)
    assert ran == {"reserve": 1, "note": 1, "charge": 2}
    assert len(drawn) > 1
    assert len(set(drawn)) == 1
    row = await stage.get(handle)
    assert (row["status"], row["run"], row.get("error")) == ("completed", 2, None)
    types = await stage.types(handle)
    assert "retried" in types
    assert "activity_failed" not in types


async def test_one_retry_is_enough_for_all_that_failed_together(stage: Stage) -> None:
    """O9, G3: the workflow heard of the first failure only; what succeeded is not run again."""
    ran: Counter[int] = Counter()
    up = asyncio.Event()
    with code() as functions:

        @activity(retries=0, queue="activities")
        async def fetch(n: int) -> int:
            ran[n] += 1
            if n > 0 and not up.is_set():
                raise ConnectionError(n)
            return n

        @workflow
        async def fetches() -> list[int]:
            return await gather(*(fetch.run(n) for n in range(5)))

    handle = await stage.queue(fetches)

    async def ends() -> int:
        types = await stage.types(handle)
        return types.count("activity_failed") + types.count("activity_completed")

    async with stage.serving(functions):
        await stage.is_in(handle, "suspended")
    async with stage.serving(functions, "activities"):
        await stage.becomes(ends, 5)
    async with stage.serving(functions, "default", "activities"):
        with pytest.raises(ExecutionFailed, match="ConnectionError"):
            await handle.result(PATIENCE)
        up.set()
        await stage.client.retry(handle.id)
        assert await handle.result(PATIENCE) == [0, 1, 2, 3, 4]
    assert ran == {0: 1, 1: 2, 2: 2, 3: 2, 4: 2}


async def test_a_workflow_that_failed_in_its_own_code_goes_on_with_better_code(
    stage: Stage,
) -> None:
    """O9: the mended code replays what the faulty code had recorded."""
    ran: Counter[str] = Counter()
    with code() as faulty:

        @activity(name="price", retries=0)
        async def price(n: int) -> int:
            ran[f"price {n}"] += 1
            return 10 * n

        async def with_a_bug() -> int:
            total = await price.run(1)
            raise ZeroDivisionError(f"after {total}")

        order = workflow(name="order")(with_a_bug)

    with code() as mended:
        mended.add(price)

        @workflow(name="order")
        async def without_the_bug() -> int:
            return await price.run(1) + await price.run(2)

    async with stage.serving(faulty):
        handle = await stage.queue(order)
        with pytest.raises(ExecutionFailed, match="after 10"):
            await handle.result(PATIENCE)
    async with stage.serving(mended):
        await stage.client.retry(handle.id)
        assert await handle.result(PATIENCE) == 30
    assert ran == {"price 1": 1, "price 2": 1}
    assert without_the_bug.name == order.name


# --- result -------------------------------------------------------------------------------------


async def test_a_result_that_is_late_is_a_typed_timeout_and_harms_nothing(stage: Stage) -> None:
    """O11."""
    go = asyncio.Event()
    with code() as functions:

        @job(retries=0)
        async def slow() -> str:
            await go.wait()
            return "done"

    async with stage.serving(functions):
        handle = await stage.queue(slow)
        await stage.is_in(handle, "running")
        for _ in range(3):
            with pytest.raises(ResultTimeout) as caught:
                await handle.result(timeout=0.05)
            assert isinstance(caught.value, TimeoutError)
            assert (caught.value.id, caught.value.code) == (handle.id, "result_timeout")
        blocking = asyncio.create_task(asyncio.to_thread(handle.result_sync, PATIENCE))
        waiting = asyncio.create_task(handle.result(PATIENCE))
        go.set()
        assert (await waiting, await blocking) == ("done", "done")
    row = await stage.get(handle)
    assert (row["attempts"], row["failures"]) == (1, 0)


async def test_a_failure_arrives_with_its_type_message_and_stack(stage: Stage) -> None:
    """O11: of a job, and of a workflow whose activity failed, with the chain of causes."""
    with code() as functions:

        @activity(retries=0)
        async def charge() -> None:
            try:
                raise KeyError("card")
            except KeyError as error:
                raise CardDeclined("no funds: ü") from error

        @job(retries=0)
        async def charges() -> None:
            await charge()

        @workflow
        async def order() -> None:
            await charge.run()

    async with stage.serving(functions):
        with pytest.raises(ExecutionFailed) as caught:
            await (await stage.queue(charges)).result(PATIENCE)
        failure = caught.value
        assert (failure.type, failure.message) == ("CardDeclined", "no funds: ü")
        assert f'File "{__file__}"' in failure.stack
        assert "in charge" in failure.stack
        assert isinstance(failure.__cause__, RemoteError)
        assert isinstance(failure.__cause__.__cause__, RemoteError)
        assert failure.__cause__.__cause__.type == "KeyError"

        with pytest.raises(ExecutionFailed) as caught:
            await (await stage.queue(order)).result(PATIENCE)
        assert caught.value.type == "ActivityError"
        chain: list[str] = []
        cause: BaseException | None = caught.value.__cause__
        while isinstance(cause, RemoteError):
            chain.append(cause.type)
            cause = cause.__cause__
        assert chain == ["ActivityError", "CardDeclined", "KeyError"]


async def test_what_was_cancelled_or_never_was_has_a_typed_error_instead_of_a_result(
    stage: Stage,
) -> None:
    """O11."""
    with code():

        @job
        async def waits() -> None: ...

    handle = await stage.queue(waits)
    waiting = asyncio.create_task(handle.result(PATIENCE))
    await handle.cancel("not wanted")
    with pytest.raises(ExecutionCancelled, match="not wanted") as caught:
        await waiting
    assert caught.value.id == handle.id
    nobody = Handle[Any](str(uuid.uuid4()), client=stage.client)
    with pytest.raises(ExecutionNotFound, match=nobody.id):
        await nobody.result(1)


# --- two applications -----------------------------------------------------------------------------


async def test_two_applications_in_two_schemas_do_not_see_each_other(
    stage: Stage, other_stage: Stage
) -> None:
    """O18: the same queue, the same names, the same keys, one database."""
    stages = {"mine": stage, "theirs": other_stage}
    handles: dict[str, list[Handle[Any]]] = {}
    releases: dict[str, Any] = {}
    for owner, here in stages.items():
        with code() as functions:
            releases[owner] = functions

            @job(name="works")
            async def works(owner: str = owner) -> str:
                return owner

            @workflow(name="waits")
            async def waits(owner: str = owner) -> list[Any]:
                return [owner, await works.run(), await wait_for_signal("go")]

            handles[owner] = [
                await here.queue(works.options(idempotency_key="one")),
                await here.queue(waits.options(idempotency_key="one")),
            ]
            assert all(handle.created for handle in handles[owner])

    async with stage.serving(releases["mine"]):
        assert await handles["mine"][0].result(PATIENCE) == "mine"
        await stage.is_in(handles["mine"][1], "suspended")
        assert [await each.status() for each in handles["theirs"]] == ["pending", "pending"]
        async with other_stage.serving(releases["theirs"]):
            for owner, here in stages.items():
                await handles[owner][1].signal("go", owner)
                assert await handles[owner][1].result(PATIENCE) == [owner, owner, owner]
                assert len((await here.client.stats())["workers"]) == 1

    for here, others in ((stage, handles["theirs"]), (other_stage, handles["mine"])):
        assert len((await here.client.list())["executions"]) == 3
        for other in others:
            for call in (here.client.get, here.client.cancel, here.client.history):
                with pytest.raises(ExecutionNotFound):
                    await call(other.id)
            with pytest.raises(ExecutionNotFound):
                await here.client.signal(other.id, "go")


# --- fork -----------------------------------------------------------------------------------------

FORK = """
import asyncio, os, signal, sys, threading
from workflows import Client, Forked, Handle, Worker, job
from workflows._cli import main

@job
async def works(): ...

async def serve():
    async with Worker():
        pass

handle = works.queue_sync()
used = Client(pool_size=4)
asyncio.run(used.stats())
child = os.fork()
if child:
    handle.cancel  # the parent goes on
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert works.queue_sync().id != handle.id
    sys.exit(code)
signal.alarm(20)
calls = {
    "queue": lambda: asyncio.run(works.queue()),
    "run": lambda: asyncio.run(works.run()),
    "queue_sync": works.queue_sync,
    "run_sync": works.run_sync,
    "result": lambda: asyncio.run(handle.result()),
    "result_sync": handle.result_sync,
    "a used client": lambda: asyncio.run(used.stats()),
    "a new client": lambda: asyncio.run(Client(pool_size=5).stats()),
    "a worker": lambda: asyncio.run(serve()),
}
for what, call in calls.items():
    try:
        call()
        print(what, "worked")
    except Forked as error:
        assert "fork.py:" in str(error), error
        print(what, "forked")
print("exit code", main(["list"]), flush=True)
"""


async def test_after_a_fork_whatever_is_called_says_so_at_once(
    stage: Stage, tmp_path: Path
) -> None:
    """O16: in a child of a process that had used the library; the parent goes on."""
    script = tmp_path / "fork.py"
    script.write_text(FORK)
    process = stage.run("fork", str(script))
    assert await stage.exits(process) == 0, process.output
    lines = process.output.splitlines()
    assert [line for line in lines if line.endswith(" worked")] == []
    assert len([line for line in lines if line.endswith(" forked")]) == 9
    assert "exit code 1" in lines
