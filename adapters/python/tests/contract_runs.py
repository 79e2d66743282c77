"""Scenarios of runs, starts with signals, deadlines, warm claims and bounds."""

from __future__ import annotations

from typing import Any

from workflows._operations import Operation

from .contract_worlds import Json, World, bounded, scenario, schedule, stop, timer


@scenario
async def the_id_of_another_is_refused(w: World) -> Any:
    other = await w.create("job", "other", delay_ms=60_000)
    await w.create("workflow", "w")
    held = await w.claim()
    answer = await w.advance(held, "keep", schedule(1, "a", queue=w.queue, id=other))
    assert answer == {"code": "invalid_request"}
    return (await w.advance(held, "complete", result=None))["status"]


@scenario
async def children_inherit_an_earlier_deadline(w: World) -> Any:
    await w.create("workflow", "w", timeout_ms=60_000)
    held = await w.claim()
    await w.advance(
        held,
        "suspend",
        schedule(1, "own", queue=w.queue, timeout_ms=1000),
        schedule(2, "inherits", queue=w.queue),
        schedule(3, "earlier", queue=w.queue, timeout_ms=600_000),
        schedule(4, "detached", queue=w.queue, close_policy="detach"),
    )
    children = await w.claims(4)
    seen = {child["name"]: child.get("deadline_at") == held["deadline_at"] for child in children}
    assert seen == {"own": False, "inherits": True, "earlier": True, "detached": False}
    for child in children:
        await w.complete(child)
    return seen


# --- cancelling ---------------------------------------------------------------------


@scenario
async def continuing_as_new(w: World) -> Any:
    id = await w.create("workflow", "w", args=[1])
    for n in range(3):
        await w.signal(id, "s", n)
    held = await w.claim()
    await w.advance(
        held,
        "keep",
        timer(1, 60_000),
        schedule(2, "child", "workflow", queue=w.queue, delay_ms=60_000),
        schedule(3, "detached", "workflow", queue=w.queue, close_policy="detach", delay_ms=60_000),
    )
    await w.signal(id, "late", idempotency_key="key")
    again = await w.advance(held, "continue", args=[2], kwargs={"k": 1}, carry=[2])
    assert again["status"] == "pending"
    await w.signal(id, "late", idempotency_key="key")
    await w.signal(id, "later")
    held = await w.claim()
    assert (held["run"], held["args"], held["kwargs"]) == (2, [2], {"k": 1})
    seen = w.events(held["events"])
    return [seen, (await w.advance(held, "complete", result="done"))["status"]]


@scenario
async def continuing_against_a_cancel(w: World) -> Any:
    id = await w.create("workflow", "w")
    held = await w.claim()
    await w.cancel(id)
    answer = await w.advance(held, "continue", args=[2], kwargs={}, carry=[])
    end = await w.advance(held, "continue", args=[2], kwargs={}, carry=[])
    return [answer["status"], w.events(answer["events"]), end["status"]]


@scenario
async def a_cancel_between_two_runs(w: World) -> Any:
    id = await w.create("workflow", "w")
    held = await w.claim()
    await w.advance(held, "suspend", timer(1, 30))
    await w.advance(await w.claim(), "continue")
    answers = [await w.cancel(id), await w.cancel(id)]
    held = await w.claim()
    end = await w.advance(held, "complete", result="swallowed")
    return [answers, held["attempt"], w.events(held["events"]), end["status"]]


@scenario
async def a_retry_after_continuing(w: World) -> Any:
    id = await w.create("workflow", "w", args=[1])
    await w.advance(await w.claim(), "continue", args=[2])
    held = await w.claim()
    await w.advance(held, "fail", error={"type": "E", "message": "m"})
    await w.one(Operation.RETRY_EXECUTION, id=id)
    held = await w.claim()
    await w.advance(held, "complete", result=None)
    return [held["run"], held["args"], w.events(held["events"])]


@scenario
async def signals_of_a_start_are_for_workflows(w: World) -> Any:
    signals = [{"name": "s"}]
    item = {"kind": "job", "name": "j", "queue": w.queue, "signals": signals}
    code = await w.refused(Operation.CREATE_EXECUTION, items=[item])
    await w.create("workflow", "w")
    child = schedule(1, "child", "workflow", queue=w.queue, signals=signals)
    answer = await w.advance(await w.claim(), "keep", child)
    assert (code, answer) == ("invalid_request", {"code": "invalid_request"})
    return [code, answer]


@scenario
async def signals_with_the_start(w: World) -> Any:
    add = {"name": "add", "payload": 1}
    keyed = {"name": "add", "payload": 2, "idempotency_key": "two"}
    first = await w.created("workflow", "w", idempotency_key=w.queue, signals=[add, keyed])
    second = await w.created("workflow", "w", idempotency_key=w.queue, signals=[add, keyed])
    held = await w.claim()
    await w.advance(held, "complete", result=None)
    third = await w.created("workflow", "w", idempotency_key=w.queue, signals=[add])
    seen = [[each["created"], each["signaled"]] for each in (first, second, third)]
    assert seen == [[True, True], [False, True], [False, False]]
    return [seen, w.events(held["events"])]


@scenario
async def a_warm_claim_brings_newer_events_only(w: World) -> Any:
    w.worker_id = await w.worker(warm=True)
    id = await w.create("workflow", "w")
    held = await w.claim()
    token = held["lease"]["token"]
    await w.advance(held, "suspend", timer(1, 60_000))
    await w.signal(id, "s", 1)
    again = await w.claim()
    assert (again["after"], again["previous_token"]) == (2, token)
    await w.advance(again, "complete", result=None)
    return [again["after"], w.events(again["events"])]


@bounded(100)
async def a_history_has_a_bound(w: World) -> Any:
    id = await w.create("workflow", "w")
    held = await w.claim()
    timers = [timer(n, 60_000) for n in range(1, 100)]
    too_many = await w.advance(held, "keep", *timers, timer(100, 60_000))
    zero = await w.advance(held, "keep", *timers[:98], timer(99, 0))
    fits = await w.advance(held, "keep", *timers)
    codes = [too_many, zero, fits.get("code", fits["status"])]
    codes.append(await w.signal(id, "s"))
    codes.append(await w.advance(held, "keep", timer(101, 60_000)))
    stopping: list[Json] = [stop(1), stop(2)]
    codes.append((await w.advance(held, "keep", *stopping))["status"])
    codes.append((await w.advance(held, "complete", schedule(102, "a", queue=w.queue)))["status"])
    return codes
