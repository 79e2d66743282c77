"""Workflows that live for long: continue-as-new, starts with a signal, states, warm resumes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any
from unittest import mock

import pytest
import workflows._functions as functions_module
import workflows._worker as workers
from crash_stage import PATIENCE, Stage, code
from workflows import (
    Client,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionFinished,
    Worker,
    activity,
    continue_as_new,
    get_state,
    set_state,
    sleep,
    uuid4,
    wait_for_signal,
    workflow,
    workflow_info,
)
from workflows._operations import Operation
from workflows._registry import Registry


async def test_a_workflow_goes_on_as_a_new_run_with_its_untaken_signals(stage: Stage) -> None:
    """Continue-as-new: signals keep their order, the parent gets the last run's result."""
    with code() as functions:

        @workflow
        async def adds(total: int, left: int) -> int:
            total += await wait_for_signal("n", int)
            set_state({"total": total, "run": workflow_info().run})
            if left > 1:
                continue_as_new(total, left - 1)
            return total

        @workflow
        async def parent() -> int:
            child = await adds.queue(0, 5)
            for n in (1, 10, 100, 1000, 10_000):
                await child.signal("n", n)
            return await child.result()

        handle = await stage.queue(parent)
        async with stage.serving(functions, concurrency=2):
            assert await handle.result(PATIENCE) == 11_111
        children = (await stage.client.list(parent_id=handle.id))["executions"]
        assert [(each["status"], each["run"]) for each in children] == [("completed", 5)]
        child = children[0]["id"]
        assert await stage.client.get_state(child) == {"total": 11_111, "run": 5}
        first = await stage.client.history(child, run=1)
        assert first[-1]["type"] == "continued"
        last = [event["type"] for event in await stage.client.history(child)]
        assert sorted(last) == ["signal_received", "started", "state_set"]


async def test_the_next_run_begins_with_an_empty_history_and_other_chance(stage: Stage) -> None:
    """Continue-as-new: timers of the run before are gone, uuids differ."""
    with code() as functions:

        @workflow
        async def turns(seen: list[str]) -> list[str]:
            late = asyncio.ensure_future(sleep(3600))
            await sleep(0)
            seen = [*seen, str(uuid4())]
            assert not late.done()
            if len(seen) < 3:
                continue_as_new(seen)
            return seen

        handle = await stage.queue(turns, [])
        async with stage.serving(functions):
            seen = await handle.result(PATIENCE)
        assert len(set(seen)) == 3
        assert (await stage.types(handle)).count("timer_started") == 2


async def test_a_cancel_ends_a_workflow_that_always_goes_on(stage: Stage) -> None:
    """Continue-as-new: who is asked to stop does not go on."""
    with code() as functions:

        @workflow
        async def forever(n: int) -> None:
            set_state(n)
            await sleep(0.01)
            continue_as_new(n + 1)

        handle = await stage.queue(forever, 0)
        async with stage.serving(functions):
            await stage.becomes(lambda: has_come_to(3, handle.get_state()), True)
            await handle.cancel()
            with pytest.raises(ExecutionCancelled):
                await handle.result(PATIENCE)


async def has_come_to(n: int, state: Awaitable[int | None]) -> bool:
    return (await state or 0) >= n


async def test_a_start_with_a_signal_makes_one_workflow_that_gets_them_all(stage: Stage) -> None:
    """Signal-with-start: 50 at once under one key."""
    with code() as functions:

        @workflow
        async def cart(size: int) -> list[int]:
            return sorted([await wait_for_signal("add", int) for _ in range(size)])

        async def add(n: int) -> tuple[str, bool]:
            starting = cart.options(idempotency_key="cart-7", signal=("add", n))
            with mock.patch.object(functions_module, "home", return_value=stage.client):
                handle = await starting.queue(50)
            return handle.id, handle.created

        made = await asyncio.gather(*(add(n) for n in range(50)))
        assert len({id for id, _ in made}) == 1
        assert [created for _, created in made].count(True) == 1
        async with stage.serving(functions):
            execution = await stage.client.wait(made[0][0], PATIENCE)
        assert execution.get("result") == list(range(50))
        with pytest.raises(ExecutionFinished, match="use another key"):
            await add(51)


async def test_a_published_state_is_read_while_it_runs_waits_and_after(stage: Stage) -> None:
    """set_state and get_state: from outside, at any time."""
    with code() as functions:

        @activity
        async def held() -> None:
            await asyncio.sleep(0.05)

        @workflow
        async def orders() -> str:
            set_state({"step": "paying"})
            await held.run()
            set_state({"step": "waiting", "list": [1, None, "ü"]})
            await wait_for_signal("go")
            return "done"

        handle = await stage.queue(orders)
        with mock.patch("workflows._workflow.home", return_value=stage.client):
            assert await get_state(handle.id) is None
            async with stage.serving(functions):
                await stage.becomes(lambda: get_state(handle.id), {"step": "paying"})
                waiting = {"step": "waiting", "list": [1, None, "ü"]}
                await stage.becomes(lambda: get_state(handle.id), waiting)
                await handle.signal("go")
                assert await handle.result(PATIENCE) == "done"
            assert await get_state(handle.id, dict[str, Any]) == waiting


async def test_a_history_that_is_full_fails_and_names_the_way_out(stage: Stage) -> None:
    """Long histories: the limit is a clear error, and continue-as-new gets below it."""
    with code() as functions:

        @workflow
        async def piles_up() -> None:
            while True:
                set_state(workflow_info().history_length)
                await sleep(0)

        @workflow
        async def goes_on(run: int, done: int) -> tuple[int, int]:
            while done < 200:
                if workflow_info().continue_as_new_suggested:
                    continue_as_new(run + 1, done)
                await sleep(0)
                done += 1
            return run, done

        wrong, right = await stage.queue(piles_up), await stage.queue(goes_on, 1, 0)
        async with limited(stage, functions, 100):
            with pytest.raises(ExecutionFailed, match="continue_as_new") as failed:
                await wrong.result(PATIENCE)
            assert failed.value.type == "HistoryTooLong"
            runs, done = await right.result(PATIENCE)
        assert done == 200
        assert runs >= 10
        assert len(await stage.client.history(wrong.id)) <= 100


class limited:  # noqa: N801
    """A worker on an engine whose histories are short."""

    def __init__(self, stage: Stage, functions: Registry, events: int) -> None:
        self._client = Client(stage.url, schema=stage.schema, max_history=events)
        self._worker = Worker(functions=functions, poll_interval=0.5, drain_timeout=1)

    async def __aenter__(self) -> None:
        with mock.patch.object(workers, "client", return_value=self._client):
            await self._worker.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await self._worker.__aexit__(None, None, None)
        await asyncio.to_thread(self._client.close)


class Spy:
    """Notes what a worker's claims bring, and what it reads beside them."""

    def __init__(self, worker: Worker) -> None:
        self._call = worker._call  # pyright: ignore[reportPrivateUsage]
        worker._call = self.call  # pyright: ignore[reportPrivateUsage]
        self.claims: list[tuple[int, list[int]]] = []
        self.read: list[int] = []

    async def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        reply = await self._call(operation, request)
        if operation is Operation.CLAIM:
            for claimed in reply["executions"]:
                if claimed["kind"] == "workflow":
                    events: list[Mapping[str, Any]] = claimed.get("events") or []
                    positions = [event["position"] for event in events]
                    self.claims.append((claimed.get("after", 0), positions))
        elif operation is Operation.GET_HISTORY:
            self.read += [event["position"] for event in reply["events"]]
        return reply


@pytest.mark.parametrize("warm", [100, 1, 0])
async def test_a_suspended_workflow_is_resumed_with_newer_events_only(
    stage: Stage, warm: int
) -> None:
    """Warm workflows: also when it was evicted meanwhile, and with every resume cold."""
    with code() as functions:

        @workflow
        async def collects(n: int) -> list[int]:
            return [await wait_for_signal("n", int) for _ in range(n)]

        one, other = await stage.queue(collects, 3), await stage.queue(collects, 3)
        async with stage.serving(functions, warm=warm) as worker:
            spy = Spy(worker)
            for n in range(3):
                for handle in (one, other):
                    await stage.is_in(handle, "suspended")
                for handle in (one, other):
                    await handle.signal("n", n)
                    if n < 2:
                        await stage.becomes(
                            lambda handle=handle, n=n: waits_with(stage, handle.id, n + 1), True
                        )
            assert await one.result(PATIENCE) == await other.result(PATIENCE) == [0, 1, 2]
        resumes = [claim for claim in spy.claims if claim[1] not in ([1], [])]
        assert resumes
        if warm == 0:
            assert all(after == 0 and positions[0] == 1 for after, positions in resumes)
        else:
            assert all(after > 0 and positions[0] == after + 1 for after, positions in resumes)
        assert bool(spy.read) == (warm == 1)


async def waits_with(stage: Stage, id: str, signals: int) -> bool:
    execution = await stage.client.get(id)
    types = [event["type"] for event in await stage.client.history(id)]
    return execution["status"] == "suspended" and types.count("signal_received") == signals
