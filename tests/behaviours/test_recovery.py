"""What a dead or stopped worker held, and what of it is done again."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import pytest
from crash_here import Here
from crash_mortal import mortal_progress, mortal_side_by_side, mortal_steps
from crash_stage import HERE, MARGIN, PATIENCE, Stage
from workflows import Client, attempt_info, job, wait_for_signal, workflow
from workflows import _operations as operations

MORTAL = ("-m", "workflows", "worker", "-m", "crash_mortal")


# --- leases -------------------------------------------------------------------------------


async def test_a_worker_of_the_same_name_does_not_inherit_the_lease_of_a_stopped_one(
    here: Here,
) -> None:
    """T7: every late write of the one that was stopped is refused."""
    go = asyncio.Event()

    @job
    async def held() -> str:
        await go.wait()
        return "second"

    @workflow
    async def flow() -> str:
        return await wait_for_signal("go", str)

    stage = here.stage
    handles = [await here.queue(held), await here.queue(flow)]
    late = stage.run("late", str(HERE / "crash_late.py"), *(handle.id for handle in handles))
    await stage.saw("claimed", "both")
    late.send(signal.SIGSTOP)
    await here.work(name="one and the same")
    await stage.is_in(handles[1], "suspended")
    await stage.becomes(lambda: epoch(here, handles[0].id), 2)
    before = [await stage.get(handle) for handle in handles]
    stage.open("write")
    late.send(signal.SIGCONT)
    assert await stage.exits(late) == 0, late.output
    answers = {entry["what"]: entry["code"] for entry in stage.entries("answered")}
    assert len(answers) == 7
    assert set(answers.values()) == {"lease_lost"}, answers
    assert [await stage.get(handle) for handle in handles] == before
    names = [worker["name"] for worker in (await stage.client.stats())["workers"]]
    assert set(names) == {"one and the same"}
    go.set()
    await handles[1].signal("go", "second")
    assert [await handle.result(PATIENCE) for handle in handles] == ["second", "second"]


async def epoch(here: Here, id: str) -> int:
    return (await here.stage.client.get(id))["attempts"]


async def test_two_recoverers_at_once_act_once_and_what_completes_meanwhile_stays_completed(
    here: Here,
) -> None:
    """T11: forty jobs of a killed worker; its last writes arrive one by one while two recover."""
    ran: list[int] = []

    @job
    async def some(n: int) -> str:
        ran.append(n)
        return "again"

    stage, count = here.stage, 40
    handles = [await here.queue(some, n) for n in range(count)]
    claimer = stage.run("claimer", str(HERE / "crash_claimer.py"), str(count))
    await stage.until(lambda: stage.count("claimed") == count, "all to be claimed")
    leases = {entry["what"]: entry["lease"] for entry in stage.entries("claimed")}
    accepted: set[str] = set()
    async with another(here, 4) as one, another(here, 5) as other:
        acted = asyncio.Event()
        recovering = asyncio.gather(recovers(one, acted), recovers(other, acted))
        claimer.kill()
        while not acted.is_set() or leases:
            if acted.is_set() or len(leases) > 10:
                id, lease = leases.popitem()
                if await completes(stage.client, id, lease):
                    accepted.add(id)
            await asyncio.sleep(0 if acted.is_set() else 0.04)
        ones, others = await recovering
    replies = [*ones, *others]
    assert [reply["workers"] for reply in replies if reply["workers"]] == [1]
    assert 0 < len(accepted) <= count - 10
    assert sum(reply["executions"] for reply in replies) == count - len(accepted)
    for handle in handles:
        row = await stage.get(handle)
        state = (row["status"], row["crashes"], row["attempts"], row.get("result"))
        wanted = ("completed", 0, 1, "first") if handle.id in accepted else ("pending", 1, 1, None)
        assert state == wanted
    await here.work()
    results = [await handle.result(PATIENCE) for handle in handles]
    assert results == ["first" if each.id in accepted else "again" for each in handles]
    assert len(ran) == count - len(accepted)


def another(here: Here, pool_size: int) -> Client:
    """A client with an engine of its own, which has no worker and recovers only if asked."""
    return Client(here.stage.url, schema=here.stage.schema, pool_size=pool_size)


async def recovers(client: Client, acted: asyncio.Event) -> list[operations.RecoverReply]:
    """Look for dead workers until one of the two has found some, and a bit longer."""
    replies: list[operations.RecoverReply] = []
    after = 0
    while after < 10:
        replies.append(await operations.recover(client.engine.channel(), {}))
        if replies[-1]["workers"]:
            acted.set()
        after += acted.is_set()
        await asyncio.sleep(0.03)
    return replies


async def completes(client: Client, id: str, lease: Any) -> bool:
    item: Any = {"id": id, "lease": lease, "result": "first"}
    reply = await operations.complete_execution(client.engine.channel(), {"items": [item]})
    [result] = reply["results"]
    assert "error" not in result or result["error"]["code"] == "lease_lost"
    return "ok" in result


async def test_what_a_worker_still_runs_after_its_drain_time_goes_back_at_once(here: Here) -> None:
    """T9: to another worker, long before the heartbeat timeout; it counts as no attempt."""
    ran: list[int] = []

    @job
    async def endless() -> int:
        ran.append(attempt_info().attempt)
        if len(ran) == 1:
            await asyncio.sleep(3600)
        return attempt_info().attempt

    worker = await here.work(drain_timeout=0.2, heartbeat_timeout=60)
    handle = await here.queue(endless)
    await here.stage.until(lambda: bool(ran), "the body to begin")
    await here.work()
    asked = time.monotonic()
    await here.dismiss(worker)
    assert await handle.result(PATIENCE) == 1
    assert time.monotonic() - asked < 30, "nobody had to be declared dead"
    assert ran == [1, 1]
    row = await here.stage.get(handle)
    assert (row["attempts"], row["failures"], row["crashes"]) == (1, 0, 0)


# --- hints --------------------------------------------------------------------------------


async def test_a_lost_notification_costs_at_most_a_poll_interval(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T16: the worker does not listen at all; a job, a wake-up and a retry are found by polling."""
    poll, at = 0.6, dict[str, float]()

    @job(retries=1, initial=0.01)
    async def some(name: str) -> None:
        at[name] = time.monotonic()

    @workflow
    async def waits() -> None:
        await wait_for_signal("go")
        at["signal"] = time.monotonic()

    monkeypatch.setenv("WORKFLOWS_LISTEN_URL", "off")
    await here.work(poll_interval=poll)
    flow = await here.suspended(waits)
    for name in ("first", "second"):  # at whatever moment of its interval
        asked = time.monotonic()
        await here.result(some, name)
        assert at[name] - asked < 1.1 * poll + MARGIN
    asked = time.monotonic()
    await flow.signal("go")
    await flow.result(PATIENCE)
    assert at["signal"] - asked < 1.1 * poll + MARGIN


# --- steps --------------------------------------------------------------------------------


async def test_a_step_runs_again_if_its_worker_died_before_its_record_and_never_after(
    stage: Stage,
) -> None:
    """T5: one worker dies right after a record, the next at the end of a body."""
    handle = await stage.queue(mortal_steps)
    for name in ("first", "second"):
        mortal = stage.run(name, *MORTAL)
        assert await stage.exits(mortal) == -signal.SIGKILL, mortal.output
    stage.run("third", *MORTAL)
    assert await handle.result(PATIENCE) == ["first", "mortal", "last"]
    began = [(entry["what"], entry["worker"]) for entry in stage.entries("began")]
    assert began == [
        ("first", "first"),
        ("mortal", "second"),
        ("mortal", "third"),
        ("last", "third"),
    ]
    assert (await stage.types(handle)).count("step_completed") == 3


async def test_of_steps_side_by_side_only_the_one_without_a_record_runs_again(
    stage: Stage,
) -> None:
    """G2, T5: the worker dies in the second of three, when the others were recorded."""
    handle = await stage.queue(mortal_side_by_side)
    mortal = stage.run("first", *MORTAL)

    async def recorded() -> int:
        return (await stage.types(handle)).count("step_completed")

    await stage.becomes(recorded, 2)
    stage.open("slow")
    assert await stage.exits(mortal) == -signal.SIGKILL, mortal.output
    stage.run("second", *MORTAL)
    assert await handle.result(PATIENCE) == ["one", "slow", "other"]
    assert [stage.count("began", name) for name in ("one", "slow", "other")] == [1, 2, 1]


# --- progress -----------------------------------------------------------------------------


@pytest.mark.parametrize("in_a_thread", [False, True], ids=["async", "sync"])
async def test_the_progress_of_a_killed_attempt_is_there_for_the_next(
    stage: Stage, in_a_thread: bool
) -> None:
    """T5: it goes on where the last report says, and does nothing of it again."""
    handle = await stage.queue(mortal_progress, in_a_thread)
    first = stage.run("first", *MORTAL)

    async def progress() -> Any:
        children = (await stage.client.list(parent_id=handle.id))["executions"]
        return [child.get("progress") for child in children]

    await stage.becomes(progress, [5])
    first.kill()
    stage.open("go")
    stage.run("second", *MORTAL)
    assert await handle.result(PATIENCE) == [5, 10]
    counted = [(entry["what"], entry["worker"]) for entry in stage.entries("counted")]
    assert counted == [(str(n), "first" if n < 5 else "second") for n in range(10)]
