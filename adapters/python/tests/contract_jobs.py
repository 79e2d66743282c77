"""Scenarios of jobs, and of cancelling."""

from __future__ import annotations

from typing import Any

from workflows._operations import Operation

from .contract_worlds import World, scenario, schedule, stop, timer


@scenario
async def priority_order(w: World) -> Any:  # Q1
    for name, priority in (("5a", 5), ("5b", None), ("9", 9), ("1", 1)):
        more = {} if priority is None else {"priority": priority}
        await w.create("job", name, **more)
    names: list[str] = []
    for _ in range(4):
        held = await w.claim()
        names.append(held["name"])
        await w.complete(held, len(names))
    assert names == ["9", "5a", "5b", "1"]
    return names


@scenario
async def what_is_due_later_does_not_hold_up_others(w: World) -> Any:  # Q2
    await w.create("job", "late", priority=9, delay_ms=100)
    await w.create("job", "now", priority=1)
    names = [(await w.claim())["name"], (await w.claim())["name"]]
    assert names == ["now", "late"]
    return names


@scenario
async def retries_and_the_last_failure(w: World) -> Any:  # T1
    id = await w.create("job", "j", retry={"retries": 2, "initial_ms": 20, "factor": 2})
    seen: list[Any] = []
    for _ in range(3):
        held = await w.claim()
        seen.append([held["attempt"], (await w.fail(held, details={"n": 1}))["status"]])
    await w.ended(id)
    assert seen == [[1, "scheduled"], [2, "scheduled"], [3, "failed"]]
    return seen


@scenario
async def a_retry_without_delay_is_pending_at_once(w: World) -> Any:
    await w.create("job", "j", retry={"retries": 1, "initial_ms": 0})
    first = await w.fail(await w.claim())
    second = await w.complete(await w.claim(), {"a": [1, None]})
    return [first, second]


@scenario
async def what_is_not_retried(w: World) -> Any:  # T4
    await w.create("job", "marked")
    marked = await w.fail(await w.claim(), non_retryable=True)
    await w.create("job", "listed", retry={"non_retryable": ["KeyError"]})
    listed = await w.fail(await w.claim(), "KeyError")
    assert marked == listed == {"status": "failed"}
    return [marked, listed]


@scenario
async def a_repeated_outcome_is_taken_and_counts_once(w: World) -> Any:
    await w.create("job", "good")
    await w.create("job", "bad", retry={"retries": 0})
    good, bad = await w.claims(2)
    answers = [await w.complete(good, 1), await w.complete(good, 1), await w.fail(good)]
    answers += [await w.fail(bad), await w.fail(bad), await w.complete(bad)]
    assert [answer.get("code", answer.get("status")) for answer in answers] == [
        "completed",
        "completed",
        "lease_lost",
        "failed",
        "failed",
        "lease_lost",
    ]
    return answers


@scenario
async def writes_without_a_lease_are_refused(w: World) -> Any:
    await w.create("job", "j")
    held = await w.claim()
    wrong = {**held, "lease": {"epoch": 7, "token": held["lease"]["token"]}}
    answers = [await w.complete(wrong), await w.fail(wrong)]
    for operation, more in (
        (Operation.RELEASE, {"reason": "drain"}),
        (Operation.HEARTBEAT, {"progress": 1}),
    ):
        if operation is Operation.HEARTBEAT:
            [reply] = (
                await w.call(
                    operation,
                    worker_id=w.worker_id,
                    items=[{"id": wrong["id"], "lease": wrong["lease"], **more}],
                )
            )["results"]
            answers.append({"code": reply["error"]["code"]})
        else:
            answers.append(await w.one(operation, id=wrong["id"], lease=wrong["lease"], **more))
    assert {answer["code"] for answer in answers} == {"lease_lost"}
    return answers


@scenario
async def progress_is_there_for_the_next_attempt(w: World) -> Any:
    await w.create("job", "j", retry={"retries": 1, "initial_ms": 1})
    held = await w.claim()
    item = {"id": held["id"], "lease": held["lease"], "progress": {"done": [1, None]}}
    await w.call(Operation.HEARTBEAT, worker_id=w.worker_id, items=[item])
    await w.fail(held)
    again = await w.claim()
    assert again["progress"] == {"done": [1, None]}
    return [again["progress"], await w.complete(again, "x")]


@scenario
async def what_is_released(w: World) -> Any:  # R17, T9
    await w.create("job", "drained")
    held = await w.claim()
    answers = [await w.one(Operation.RELEASE, id=held["id"], lease=held["lease"], reason="drain")]
    held = await w.claim()
    no_function = {"id": held["id"], "lease": held["lease"], "reason": "no_function"}
    answers += [await w.one(Operation.RELEASE, **no_function)]
    answers += [await w.one(Operation.RELEASE, **no_function)]
    held = await w.claim()
    assert held["attempt"] == 1
    return [answers, held["attempt"], await w.complete(held)]


@scenario
async def what_a_worker_lacks_is_passed_over(w: World) -> Any:  # R17
    for name in ("first", "mine", "theirs"):
        await w.create("job", name)
    await w.complete(await w.claim())
    lacking = [{"kind": "job", "name": "theirs"}, {"kind": "workflow", "name": "mine"}]
    reply = await w.call(Operation.CLAIM, worker_id=w.worker_id, n=10, lacking=lacking)
    assert [each["name"] for each in reply["executions"]] == ["mine"]
    rest = await w.claim()
    return [rest["name"], await w.complete(rest), await w.complete(reply["executions"][0])]


@scenario
async def an_idempotency_key_answers_the_first(w: World) -> Any:  # Q4
    key = w.queue
    first = await w.created("job", "j", idempotency_key=key)
    second = await w.created("job", "j", idempotency_key=key)
    other = await w.created("job", "other", idempotency_key=key)
    held = await w.claims(2)
    for each in held:
        await w.complete(each)
    third = await w.created("job", "j", idempotency_key=key)
    seen = [first["created"], second["created"], other["created"], third["created"]]
    assert seen == [True, False, True, False]
    assert first["id"] == second["id"] == third["id"]
    return seen


@scenario
async def a_schedule_timeout(w: World) -> Any:  # T13
    late = await w.create("job", "late", schedule_timeout_ms=50, queue=f"{w.queue}-nobody")
    begun = await w.create("job", "begun", schedule_timeout_ms=200)
    held = await w.claim()
    failed = await w.ended(late)
    await w.until(begun, lambda found: True)
    assert failed["error"]["type"] == "ScheduleTimeout"
    await w.complete(held)
    return (await w.ended(begun))["status"]


@scenario
async def a_deadline_ends_whoever_holds_it(w: World) -> Any:
    waits = await w.create("job", "waits", timeout_ms=150, delay_ms=60_000)
    runs = await w.create("workflow", "runs", timeout_ms=150)
    held = await w.claim()
    await w.advance(held, "keep", timer(1, 60_000))
    errors = [(await w.ended(id))["error"]["type"] for id in (waits, runs)]
    assert errors == ["ExecutionTimeout"] * 2
    return [errors, await w.advance(held, "complete", result="too late")]


@scenario
async def cancelling_what_waits(w: World) -> Any:  # C1
    ids = [
        await w.create("job", "pending"),
        await w.create("job", "scheduled", delay_ms=60_000),
        await w.create("workflow", "not begun"),
    ]
    answers = [[await w.cancel(id), await w.cancel(id)] for id in ids]
    assert (
        answers
        == [[{"status": "cancelled", "changed": True}, {"status": "cancelled", "changed": False}]]
        * 3
    )
    return [answers, await w.claim_now()]


@scenario
async def cancelling_what_runs(w: World) -> Any:  # C2
    id = await w.create("job", "j")
    held = await w.claim()
    answers = [await w.cancel(id), await w.cancel(id)]
    [notice] = await w.notices()
    answers.append(await w.complete(held, "its result is dropped"))
    answers.append(await w.complete(held, "and again"))
    return [answers, notice.get("cancel_requested"), notice.get("lost", False)]


@scenario
async def a_cancel_wins_over_a_failure(w: World) -> Any:
    id = await w.create("job", "j", retry={"retries": 5, "initial_ms": 1})
    held = await w.claim()
    await w.cancel(id)
    return await w.fail(held)


@scenario
async def a_release_of_what_was_asked_to_stop_ends_it(w: World) -> Any:
    id = await w.create("job", "j")
    held = await w.claim()
    await w.cancel(id)
    return await w.one(Operation.RELEASE, id=id, lease=held["lease"], reason="drain")


@scenario
async def cancelling_a_suspended_workflow_lets_it_clean_up(w: World) -> Any:  # C6
    id = await w.create("workflow", "w")
    await w.advance(await w.claim(), "suspend", timer(1, 60_000))
    answer = await w.cancel(id)
    held = await w.claim()
    assert held["cancel_requested"]
    await w.advance(held, "suspend", stop(1), schedule(2, "undo", queue=w.queue))
    await w.complete(await w.claim(), "undone")
    held = await w.claim()
    end = await w.advance(held, "complete", result="swallowed")
    assert end["status"] == "cancelled"
    return [answer, end["status"]]


@scenario
async def completing_against_a_cancel(w: World) -> Any:  # C5
    id = await w.create("workflow", "w")
    held = await w.claim()
    await w.cancel(id)
    first = await w.advance(held, "complete", timer(1, 60_000), result=1)
    assert first["status"] == "running"
    seen = w.events(first["events"])
    second = await w.advance(held, "fail", error={"type": "CancelledError", "message": ""})
    assert second["status"] == "cancelled"
    return [seen, second["status"]]


@scenario
async def terminating(w: World) -> Any:
    job = await w.create("job", "j")
    flow = await w.create("workflow", "w")
    first, second = await w.claims(2)
    held = first if first["kind"] == "workflow" else second
    await w.advance(held, "keep", schedule(1, "a", queue=w.queue))
    child = await w.claim()
    answers = [await w.one(Operation.TERMINATE_EXECUTION, id=id) for id in (job, flow, job)]
    late = await w.advance(held, "keep")
    await w.until(child["id"], lambda found: "cancel_requested_at" in found)
    return [answers, late, await w.complete(child)]
