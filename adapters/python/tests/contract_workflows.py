"""Scenarios of workflows."""

from __future__ import annotations

from typing import Any

from workflows._operations import Operation

from .contract_worlds import Json, World, scenario, schedule, stop, timer


@scenario
async def activities_complete_and_fail(w: World) -> Any:
    await w.create("workflow", "w", args=[1, {"a": None}])
    held = await w.claim()
    first = await w.advance(
        held,
        "suspend",
        schedule(1, "good", queue=w.queue, args=["x"]),
        schedule(2, "bad", queue=w.queue, retry={"retries": 1, "initial_ms": 30}),
    )
    assert first["status"] == "suspended"
    good, bad = await w.claims(2)
    assert (good["name"], good["args"], bad["name"]) == ("good", ["x"], "bad")
    await w.complete(good, {"n": [1]})
    held = await w.claim()
    await w.advance(held, "suspend")
    again = await w.fail(bad)
    bad = await w.claim()
    await w.fail(bad)
    held = await w.claim()
    end = await w.advance(held, "complete", result="done")
    return [again, w.events(first["events"]), w.events(held["events"]), end["status"]]


@scenario
async def suspending_where_newer_events_have_come(w: World) -> Any:  # S2
    id = await w.create("workflow", "w")
    held = await w.claim()
    await w.signal(id, "s", {"n": 1})
    first = await w.advance(held, "suspend", timer(1, 60_000))
    assert first["status"] == "running"
    second = await w.advance(held, "suspend")
    return [w.events(first["events"]), second["status"]]


@scenario
async def signals_are_buffered_in_order_and_keyed_ones_come_once(w: World) -> Any:  # S1 S3 S11
    id, other = await w.create("workflow", "w"), await w.create("workflow", "other")
    for n in range(3):
        await w.signal(id, "s", n)
    keyed = [
        await w.signal(id, "k", "first", idempotency_key="key"),
        await w.signal(id, "k", "second", idempotency_key="key"),
        await w.signal(other, "k", idempotency_key="key"),
    ]
    assert [answer["delivered"] for answer in keyed] == [True, False, True]
    first, second = await w.claims(2)
    for held in (first, second):
        await w.advance(held, "complete", result=None)
    late = [await w.signal(id, "late"), await w.signal(id, "k", idempotency_key="key")]
    nobody = await w.signal("01900000-0000-7000-8000-000000000000", "s")
    return [keyed, w.events(first["events"]), late, nobody]


@scenario
async def jobs_take_no_signals(w: World) -> Any:
    return await w.signal(await w.create("job", "j"), "s")


@scenario
async def timers_fire_in_order(w: World) -> Any:
    await w.create("workflow", "w")
    held = await w.claim()
    answer = await w.advance(
        held, "suspend", timer(1, 90, "late"), timer(2, 30), timer(3, 60_000), timer(4, 0, "zero")
    )
    assert answer["status"] == "running"
    await w.advance(held, "suspend")
    fired = 0
    while fired < 3:
        held = await w.claim()
        fired = sum(event["type"] == "timer_fired" for event in held["events"])
        await w.advance(held, "suspend" if fired < 3 else "keep", *[stop(3)] * (fired == 3))
    seen = [event["sequence"] for event in held["events"] if event["type"] == "timer_fired"]
    assert seen == [4, 2, 1]
    return (await w.advance(held, "complete", result=seen))["status"]


@scenario
async def cancelling_by_sequence(w: World) -> Any:
    await w.create("workflow", "w")
    held = await w.claim()
    await w.advance(
        held,
        "keep",
        schedule(1, "waits", queue=w.queue),
        schedule(2, "child", "workflow", queue=w.queue, delay_ms=60_000),
        timer(3, 60_000),
    )
    running = await w.claim()
    answer = await w.advance(
        held,
        "suspend",
        stop(1),
        stop(2),
        stop(3),
        stop(3),
        schedule(4, "stillborn", queue=w.queue),
        stop(4),
    )
    seen = w.events(answer["events"])
    late = await w.complete(running, "nobody hears of it")
    return [answer["status"], seen, late]


@scenario
async def children_report_how_they_ended(w: World) -> Any:  # C8 C9
    await w.create("workflow", "w")
    held = await w.claim()
    await w.advance(
        held,
        "suspend",
        *[schedule(n, f"child {n}", "workflow", queue=w.queue) for n in (1, 2, 3)],
        schedule(4, "child 4", "workflow", queue=w.queue, timeout_ms=1, delay_ms=60_000),
    )
    children = {child["name"]: child for child in await w.claims(3)}
    held = await w.claim()  # the timeout of the fourth
    await w.advance(held, "suspend")
    error = {"type": "E", "message": "m", "details": {"a": 1}}
    ends: list[Any] = []
    for name, then, more in (
        ("child 1", "complete", {"result": {"x": 1}}),
        ("child 2", "fail", {"error": error}),
    ):
        ends.append((await w.advance(children[name], then, **more))["status"])
        held = await w.claim()
        await w.advance(held, "suspend")
    third = children["child 3"]["id"]
    ends.append(await w.cancel(third))
    await w.advance(children["child 3"], "keep")
    ends.append((await w.advance(children["child 3"], "complete", result=1))["status"])
    held = await w.claim()
    await w.advance(held, "complete", result=None)
    return [w.events(held["events"]), ends]


@scenario
async def what_becomes_of_children_when_the_parent_ends(w: World) -> Any:  # C3 R16
    await w.create("workflow", "w")
    held = await w.claim()
    await w.advance(
        held,
        "keep",
        schedule(1, "cancelled", "workflow", queue=w.queue, delay_ms=60_000),
        schedule(2, "detached", "workflow", queue=w.queue, close_policy="detach"),
        schedule(3, "running", queue=w.queue),
        schedule(4, "later", queue=w.queue, delay_ms=60_000),
    )
    children = {child["name"]: child for child in await w.claims(2)}
    grandchild = schedule(1, "grandchild", queue=w.queue, delay_ms=60_000)
    await w.advance(children["detached"], "suspend", grandchild)
    await w.advance(held, "complete", result=None)
    history: list[Json] = (await w.call(Operation.GET_HISTORY, id=held["id"]))["events"]
    for event in history:
        id: str = event.get("payload", {}).get("id", "")
        if id:
            w.names.setdefault(id, f"#{len(w.names) + 1}")
        if id and event["name"] != "detached":
            await w.until(id, lambda found: "cancel_requested_at" in found)
    return [await w.complete(children["running"]), await w.signal(children["detached"]["id"], "s")]


@scenario
async def a_cascade_goes_all_the_way_down(w: World) -> Any:  # C3
    root = await w.create("workflow", "root")
    held, chain = await w.claim(), [root]
    for depth in range(3):
        await w.advance(held, "suspend", schedule(1, f"level {depth}", "workflow", queue=w.queue))
        held = await w.claim()
        chain.append(held["id"])
    await w.advance(held, "suspend", timer(1, 60_000))
    for depth in range(4):
        if depth == 0:
            await w.cancel(root)
        held = await w.claim()
        assert held["id"] == chain[depth]
        await w.advance(held, "fail", error={"type": "CancelledError", "message": ""})
    return [(await w.get(id))["status"] for id in chain]


@scenario
async def steps_state_and_versions(w: World) -> Any:
    await w.create("workflow", "w")
    held = await w.claim()
    commands: list[Json] = [
        {"type": "set_state", "sequence": 1, "state": {"at": [1, None]}},
        {"type": "mark_version", "sequence": 2, "name": "change", "version": 3},
    ]
    first = await w.advance(held, "keep", *commands)
    position = held["position"]
    done = {"type": "step_completed", "sequence": 3, "name": "s", "payload": {"a": 1}}
    failed = {"type": "step_failed", "sequence": 4, "name": "t", "payload": {"type": "E"}}
    second = await w.advance(held, "suspend", events=[done, failed])
    assert second["status"] == "running", "a step's outcome is news to the workflow itself"
    repeat = await w.advance({**held, "position": position}, "keep", *commands, events=[done])
    third = await w.advance(held, "suspend")
    return [
        w.events(first["events"]),
        w.events(second["events"]),
        w.events(repeat["events"]),
        third["status"],
    ]


@scenario
async def a_repeated_advance_writes_nothing_twice(w: World) -> Any:
    await w.create("workflow", "w")
    held = await w.claim()
    commands = [schedule(1, "a", queue=w.queue, delay_ms=60_000), timer(2, 60_000)]
    position = held["position"]
    first = await w.advance(held, "suspend", *commands)
    again = await w.advance({**held, "position": position}, "suspend", *commands)
    assert first["status"] == again["status"] == "suspended"
    return [first["status"], again["status"]]


@scenario
async def a_workflow_that_does_not_fit_is_parked(w: World) -> Any:  # R2
    id = await w.create("workflow", "w")
    held = await w.claim()
    await w.advance(held, "keep", timer(1, 40))
    park = {"id": id, "lease": held["lease"], "reason": "non_determinism", "message": "why"}
    answers = [await w.one(Operation.RELEASE, **park)]
    await w.signal(id, "s")
    await w.until(id, lambda found: found["history_length"] == 4)
    assert await w.claim_now() == []
    answers.append(await w.one(Operation.RESUME_WORKFLOW, id=id))
    answers.append(await w.one(Operation.RESUME_WORKFLOW, id=id))
    held = await w.claim()
    await w.advance(held, "complete", result=1)
    return [answers, w.events(held["events"])]


@scenario
async def cancelling_what_is_parked_ends_it(w: World) -> Any:
    id = await w.create("workflow", "w")
    held = await w.claim()
    park = {"id": id, "lease": held["lease"], "reason": "non_determinism", "message": "why"}
    await w.one(Operation.RELEASE, **park)
    return await w.cancel(id)


@scenario
async def another_language_does_not_go_on_with_a_workflow(w: World) -> Any:
    id = await w.create("workflow", "w")
    await w.advance(await w.claim(), "suspend", timer(1, 60_000))
    node = await w.worker(language="node")
    await w.signal(id, "s")
    other = await w.claim_now(worker=node)
    held = await w.claim()
    await w.advance(held, "complete", result=None)
    await w.call(Operation.STOP_WORKER, worker_id=node)
    return [len(other), len(held["events"])]


@scenario
async def a_stopped_worker_puts_back_what_it_held(w: World) -> Any:  # T9
    await w.create("job", "j")
    await w.create("workflow", "w")
    first = await w.worker()
    await w.claims(2, first)
    await w.call(Operation.STOP_WORKER, worker_id=first, drain=True)
    draining = (await w.call(Operation.CLAIM, worker_id=first, n=1)).get("draining")
    released = (await w.call(Operation.STOP_WORKER, worker_id=first))["released"]
    gone = await w.refused(Operation.CLAIM, worker_id=first, n=1)
    held = await w.claims(2)
    seen = sorted([each["kind"], each["attempt"]] for each in held)
    assert seen == [["job", 1], ["workflow", 1]]
    for each in held:
        await w.one(Operation.COMPLETE_EXECUTION, id=each["id"], lease=each["lease"], position=1)
    return [draining, released, gone, seen]


@scenario
async def a_retried_workflow_keeps_what_had_an_outcome(w: World) -> Any:  # O9
    id = await w.create("workflow", "w")
    held = await w.claim()
    await w.advance(held, "suspend", schedule(1, "good", queue=w.queue))
    await w.complete(await w.claim(), 1)
    held = await w.claim()
    bad = schedule(2, "bad", queue=w.queue, retry={"retries": 0})
    await w.signal(id, "s", 1, idempotency_key="key")
    await w.advance(held, "keep", bad, timer(3, 60_000))
    await w.fail(await w.claim())
    await w.until(id, lambda found: found["history_length"] == 7)
    answer = await w.advance(held, "keep")
    error = {"type": "E", "message": "m", "sequence": 2}
    await w.advance(held, "fail", error=error)
    early = await w.one(Operation.RETRY_EXECUTION, id=id)
    keyed = await w.signal(id, "s", 1, idempotency_key="key")
    held = await w.claim()
    await w.advance(held, "complete", result="at last")
    again = await w.one(Operation.RETRY_EXECUTION, id=id)
    return [w.events(answer["events"]), early, keyed, w.events(held["events"]), again]


@scenario
async def a_retried_workflow_keeps_no_failure_that_came_later(w: World) -> Any:  # O9
    id = await w.create("workflow", "w")
    asked = [schedule(n, f"a{n}", queue=w.queue, retry={"retries": 0}) for n in range(1, 5)]
    await w.advance(await w.claim(), "suspend", *asked)
    first, second, third, fourth = await w.claims(4)
    await w.fail(first)
    await w.fail(second)
    await w.fail(third)
    await w.complete(fourth, 4)
    held = await w.claim()
    await w.advance(held, "fail", error={"type": "E", "message": "m", "sequence": 2})
    await w.one(Operation.RETRY_EXECUTION, id=id)
    held = await w.claim()
    kept = [(event["type"], event.get("sequence")) for event in held["events"]]
    assert kept == [
        ("started", None),
        *((f"activity_{what}", n) for what, n in [("scheduled", 1), ("scheduled", 4)]),
        *((f"activity_{what}", n) for what, n in [("failed", 1), ("completed", 4)]),
        ("retried", None),
    ]
    return w.events(held["events"])


@scenario
async def a_retried_job_begins_anew(w: World) -> Any:
    id = await w.create("job", "j", retry={"retries": 0}, timeout_ms=60_000)
    await w.fail(await w.claim())
    answers = [await w.one(Operation.RETRY_EXECUTION, id=id)]
    held = await w.claim()
    answers.append(await w.complete(held, 2))
    answers.append(await w.one(Operation.RETRY_EXECUTION, id=id))
    return [answers, held["attempt"]]


@scenario
async def reading(w: World) -> Any:
    name = f"read-{len(w.queue)}"
    ids = [await w.create("job", name, args=[n]) for n in range(3)]
    page = await w.call(Operation.LIST_EXECUTIONS, queue=w.queue, limit=2)
    rest = await w.call(Operation.LIST_EXECUTIONS, queue=w.queue, limit=2, cursor=page["cursor"])
    listed = [each["id"] for each in page["executions"] + rest["executions"]]
    assert listed == ids[::-1]
    flow = await w.create("workflow", "w")
    for n in range(5):
        await w.signal(flow, "s", n)
    part = await w.call(Operation.GET_HISTORY, id=flow, after=1, limit=2)
    unknown = await w.refused(Operation.GET_EXECUTION, id="01900000-0000-7000-8000-000000000000")
    failed = await w.call(Operation.LIST_EXECUTIONS, queue=w.queue, status=["failed"])
    return [
        [w.names[id] for id in listed],
        w.events(part["events"]),
        part.get("more"),
        unknown,
        failed["executions"],
    ]


@scenario
async def what_is_too_large_is_refused(w: World) -> Any:
    large = "x" * (1 << 20)
    code = await w.refused(
        Operation.CREATE_EXECUTION,
        items=[{"kind": "job", "name": "j", "queue": w.queue, "args": [large]}],
    )
    await w.create("job", "j")
    await w.create("workflow", "w")
    first, second = await w.claims(2)
    job, flow = (first, second) if first["kind"] == "job" else (second, first)
    answers = [
        await w.complete(job, large),
        await w.advance(flow, "keep", schedule(1, "a", queue=w.queue, args=[large])),
        await w.signal(flow["id"], "s", large),
    ]
    assert {code, *(answer["code"] for answer in answers)} == {"payload_too_large"}
    return [answers, await w.complete(job)]
