"""Signals reach the waits that they are meant for, each once, and nobody else."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import pytest
from crash_stage import PATIENCE, Stage, code
from workflows import (
    ExecutionFailed,
    ExecutionFinished,
    ExecutionNotFound,
    Handle,
    SignalTimeout,
    StepError,
    Worker,
    activity,
    job,
    send_signal,
    wait_for_signal,
    workflow,
)
from workflows._operations import Operation


class AtTheSuspend:
    """Sends each workflow its signal around the moment when its worker suspends it."""

    def __init__(self, stage: Stage, worker: Worker):
        self._stage = stage
        self._call = worker.client.engine.channel().call
        worker.outbox._sender = self  # pyright: ignore[reportPrivateUsage]
        self.statuses: Counter[str] = Counter()
        self._sent: set[str] = set()

    def send(self, operation: Operation, request_json: bytes) -> asyncio.Future[Any]:
        """Stand between the worker and its channel."""
        return asyncio.create_task(self._perform(operation, json.loads(request_json)))

    async def _perform(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        if operation is not Operation.ADVANCE_WORKFLOW:
            return await self._call(operation, request)
        items: list[Mapping[str, Any]] = list(request["items"])
        return {"results": await asyncio.gather(*(self._advance(item) for item in items))}

    async def _advance(self, item: Mapping[str, Any]) -> Any:
        if item["then"] == "suspend":
            return await self._race(item)
        [result] = (await self._call(Operation.ADVANCE_WORKFLOW, {"items": [item]}))["results"]
        return result

    async def _race(self, item: Mapping[str, Any]) -> Any:
        id: str = item["id"]
        assert id not in self._sent, "it was signalled, and waits again"
        self._sent.add(id)
        nth = len(self._sent)
        suspend = self._call(Operation.ADVANCE_WORKFLOW, {"items": [item]})
        signal = self._stage.client.signal(id, "go", nth)
        if nth % 20 == 0:  # one before the other, so that both orders are seen
            await signal
            reply = await suspend
        elif nth % 20 == 1:
            reply = await suspend
            await signal
        else:
            # Two connections: which commits first is up to the database. Up to a millisecond
            # of head start for either is about what one commit takes.
            head_start = (nth % 20 - 10) / 10_000
            reply, _ = await asyncio.gather(
                _later(suspend, head_start), _later(signal, -head_start)
            )
        [result] = reply["results"]
        self.statuses[result["ok"]["status"]] += 1
        return result


async def _later(call: Any, pause: float) -> Any:
    if pause > 0:
        await asyncio.sleep(pause)
    return await call


async def test_a_signal_in_the_moment_of_the_suspend_is_never_missed(stage: Stage) -> None:
    """S2: 200 races of two commits, on two connections."""
    with code() as functions:

        @workflow
        async def waits() -> int:
            return await wait_for_signal("go", int)

    async with stage.serving(functions, concurrency=5) as worker:
        races = AtTheSuspend(stage, worker)
        handles = [await stage.queue(waits) for _ in range(200)]
        results = await asyncio.gather(*(handle.result(PATIENCE) for handle in handles))
    assert sorted(results) == list(range(1, 201))
    assert races.statuses["running"] > 0, "a signal that came first was answered to the suspend"
    assert races.statuses["suspended"] > 0, "a signal that came second woke the workflow"
    assert sum(races.statuses.values()) == 200


async def test_a_signal_wakes_only_the_workflow_that_it_is_addressed_to(stage: Stage) -> None:
    """S5: nine others that wait for the same name are not touched, nor is their parent."""
    began: Counter[int] = Counter()
    with code() as functions:

        @workflow
        async def waits(n: int) -> Any:
            began[n] += 1
            return await wait_for_signal("go")

        @workflow
        async def parent() -> Any:
            began[-1] += 1
            return await waits.run(10)

        @job
        async def behind() -> None: ...

    async with stage.serving(functions, warm=0):  # so that every wake-up is a replay
        handles = [await stage.queue(waits, n) for n in range(10)]
        family = await stage.queue(parent)
        for handle in [*handles, family]:
            await stage.is_in(handle, "suspended")
        [child] = (await stage.client.list(parent_id=family.id))["executions"]
        await stage.is_in(Handle[Any](child["id"], client=stage.client), "suspended")
        others = [child["id"], *(each.id for each in [family, *handles[:4], *handles[5:]])]
        before = [await stage.client.get(other) for other in others]

        await handles[4].signal("go", "you")
        assert await handles[4].result(PATIENCE) == "you"
        # What became pending with it, of a higher priority, would have been claimed before this.
        await (await stage.queue(behind.options(priority=0))).result(PATIENCE)

        assert [await stage.client.get(other) for other in others] == before
        assert began == {**dict.fromkeys(range(-1, 11), 1), 4: 2}


async def test_a_wait_times_out_after_its_time_with_an_error_that_can_be_caught(
    stage: Stage,
) -> None:
    """S6: typed, catchable as TimeoutError too, after one second at the least."""
    with code() as functions:

        @workflow
        async def catches() -> list[str]:
            try:
                await wait_for_signal("x", timeout=1)
            except SignalTimeout as error:
                return [type(error).__name__, error.name, error.code]
            return []

        @workflow
        async def catches_what_python_knows() -> str:
            try:
                await wait_for_signal("x", timeout="1s")
            except TimeoutError as error:
                return str(error)
            return ""

        @workflow
        async def does_not_catch() -> None:
            await wait_for_signal("x", timeout=1)

    async with stage.serving(functions):
        typed = await stage.queue(catches)
        builtin = await stage.queue(catches_what_python_knows)
        uncaught = await stage.queue(does_not_catch)
        assert await typed.result(PATIENCE) == ["SignalTimeout", "x", "signal_timeout"]
        assert "'x'" in await builtin.result(PATIENCE)
        with pytest.raises(ExecutionFailed) as caught:
            await uncaught.result(PATIENCE)
        assert caught.value.type == "SignalTimeout"
    for handle in (typed, builtin, uncaught):
        [started], [fired] = await times(stage, handle, "timer_started", "timer_fired")
        assert (fired - started).total_seconds() >= 1


async def times(stage: Stage, handle: Handle[Any], *types: str) -> list[list[datetime]]:
    """Answer when the events of each type were written, by the database's clock."""
    history = await stage.client.history(handle.id)
    return [
        [datetime.fromisoformat(event["at"]) for event in history if event["type"] == each]
        for each in types
    ]


async def test_a_recorded_timeout_stays_one_though_the_signal_came_later(stage: Stage) -> None:
    """S7: each replay times out at that point, and the next wait gets the late signal."""
    told: list[list[str]] = []
    with code() as functions:

        @workflow
        async def waits() -> list[str]:
            mine: list[str] = []
            told.append(mine)
            try:
                mine.append(await wait_for_signal("x", str, timeout=0.3))
            except SignalTimeout:
                mine.append("timeout")
            mine.append(await wait_for_signal("go on", str))
            mine.append(await wait_for_signal("x", str))
            return mine

    async with stage.serving(functions, warm=0):
        handle = await stage.queue(waits)
        await stage.becomes(lambda: types_of(stage, handle, "timer_fired"), 1)
        await stage.is_in(handle, "suspended")
        await handle.signal("x", "late")
        await stage.until(lambda: len(told) >= 3, "the signal to cause a replay")
        await stage.is_in(handle, "suspended")
        await handle.signal("go on", "on")
        assert await handle.result(PATIENCE) == ["timeout", "on", "late"]
    assert told == [[], ["timeout"], ["timeout"], ["timeout", "on", "late"]]


async def types_of(stage: Stage, handle: Handle[Any], type: str) -> int:
    return (await stage.types(handle)).count(type)


async def test_a_signal_to_nobody_is_not_found(stage: Stage) -> None:
    """S10: an unknown id, from outside and from a workflow."""
    nobody = str(uuid.uuid4())
    with code() as functions:

        @workflow
        async def sends(id: str) -> list[Any]:
            try:
                await send_signal(id, "go")
            except StepError as error:
                return [error.type, error.attempts]
            return []

    with pytest.raises(ExecutionNotFound, match=nobody) as caught:
        await stage.client.signal(nobody, "go")
    assert caught.value.code == "execution_not_found"
    async with stage.serving(functions):
        inside = await stage.queue(sends, nobody)
        assert await inside.result(PATIENCE) == ["ExecutionNotFound", 1]


async def test_a_signal_to_what_has_finished_says_so_and_never_revives_it(stage: Stage) -> None:
    """S10: completed, failed and cancelled ones."""
    began: Counter[str] = Counter()
    with code() as functions:

        @workflow
        async def ends(how: str) -> str:
            began[how] += 1
            if how == "failed":
                raise ValueError(how)
            if how == "cancelled":
                await wait_for_signal("never")
            return how

        @workflow
        async def sends(ids: list[str]) -> list[list[Any]]:
            told: list[list[Any]] = []
            for id in ids:
                try:
                    await send_signal(id, "go")
                except StepError as error:
                    told.append([error.type, error.attempts])
            return told

    async with stage.serving(functions, warm=0):
        handles = {
            how: await stage.queue(ends, how) for how in ("completed", "failed", "cancelled")
        }
        await stage.is_in(handles["cancelled"], "suspended")
        await handles["cancelled"].cancel()
        for how, handle in handles.items():
            await stage.is_in(handle, how)
        before = [await stage.get(handle) for handle in handles.values()]
        histories = [await stage.client.history(handle.id) for handle in handles.values()]
        runs = began.copy()

        for handle in handles.values():
            with pytest.raises(ExecutionFinished) as caught:
                await handle.signal("go")
            assert caught.value.code == "execution_finished"
        inside = await stage.queue(sends, [handle.id for handle in handles.values()])
        assert await inside.result(PATIENCE) == [["ExecutionFinished", 1]] * 3

        assert [await stage.get(handle) for handle in handles.values()] == before
        assert [await stage.client.history(each.id) for each in handles.values()] == histories
        assert began == runs


async def test_a_signal_with_a_key_is_delivered_once_to_each_workflow(stage: Stage) -> None:
    """S11: twenty at once, and again when it was taken; the same key to another counts anew."""
    with code() as functions:

        @workflow
        async def waits() -> list[Any]:
            got = [await wait_for_signal("paid")]
            while (found := await wait_for_signal("paid")) != "end":
                got.append(found)
            return got

    async with stage.serving(functions):
        first, second = await stage.queue(waits), await stage.queue(waits)
        sent = await asyncio.gather(*(first.signal("paid", n, key="bill 7") for n in range(20)))
        assert [each["delivered"] for each in sent].count(True) == 1
        [delivered] = [n for n, each in enumerate(sent) if each["delivered"]]
        await stage.is_in(first, "suspended")
        assert await first.signal("paid", "again", key="bill 7") == {"delivered": False}

        assert await second.signal("paid", "to the other", key="bill 7") == {"delivered": True}
        assert await first.signal("paid", "without a key") == {"delivered": True}
        assert await first.signal("paid", "another key", key="bill 8") == {"delivered": True}
        for handle in (first, second):
            await handle.signal("paid", "end")
        assert await first.result(PATIENCE) == [delivered, "without a key", "another key"]
        assert await second.result(PATIENCE) == ["to the other"]


async def test_a_signal_while_an_activity_is_awaited_does_not_start_it_again(stage: Stage) -> None:
    """S13: each signal replays the workflow, and the activity runs once."""
    go = asyncio.Event()
    ran: Counter[str] = Counter()
    with code() as functions:

        @activity(retries=0)
        async def slow() -> str:
            ran["activity"] += 1
            await go.wait()
            return "done"

        @workflow
        async def waits() -> list[Any]:
            ran["workflow"] += 1
            result = await slow.run()
            return [result, *[await wait_for_signal("note") for _ in range(3)]]

    async with stage.serving(functions, warm=0):
        handle = await stage.queue(waits)
        await stage.until(lambda: ran["activity"] == 1, "the activity to begin")
        for n in range(3):
            await stage.is_in(handle, "suspended")
            seen = ran["workflow"]
            await handle.signal("note", n)
            await stage.until(lambda seen=seen: ran["workflow"] > seen, "a replay")
        go.set()
        assert await handle.result(PATIENCE) == ["done", 0, 1, 2]
    assert ran["activity"] == 1
    assert (await stage.types(handle)).count("activity_scheduled") == 1
    children = cast("list[Any]", (await stage.client.list(parent_id=handle.id))["executions"])
    assert [child["attempts"] for child in children] == [1]
