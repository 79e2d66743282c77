"""Environments in async tests: the loop of the test goes by their time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from workflows import Handle, activity, sleep, wait_for_signal, workflow
from workflows._registry import Registry
from workflows.testing import WorkflowEnvironment


async def test_async_code_awaits_what_it_awaits_in_production(env: WorkflowEnvironment) -> None:
    @workflow
    async def w(name: str) -> str:
        await sleep("30d")
        return f"{name} {await wait_for_signal('go')}"

    began = asyncio.get_running_loop().time()
    first, second = await w.queue("first"), env.start(w, "second")
    assert isinstance(first, Handle)
    await asyncio.sleep(31 * 86400)
    assert await first.status() == second.status() == "suspended"
    await first.signal("go", 1)
    second.signal("go", 2, after="1d")
    assert await asyncio.gather(first.result(), second) == ["first 1", "second 2"]
    assert asyncio.get_running_loop().time() - began == pytest.approx(32 * 86400)
    assert env.elapsed == timedelta(days=32)


async def test_async_bodies_run_on_the_loop_of_the_test(env: WorkflowEnvironment) -> None:
    arrived: asyncio.Queue[int] = asyncio.Queue()
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @activity
    async def asks(x: int) -> str:
        arrived.put_nowait(x)
        return await answer

    @workflow
    async def w(x: int) -> str:
        return await asks.run(x)

    handle = env.start(w, 7)
    assert await arrived.get() == 7
    answer.set_result("yes")
    assert await handle == "yes"


async def test_what_would_block_the_loop_is_refused(env: WorkflowEnvironment) -> None:
    @workflow
    async def w() -> None: ...

    handle = env.start(w)
    refused: list[tuple[Callable[[], Any], str]] = [
        (handle.result, "await handle"),
        (lambda: env.run(w), "await handle"),
        (env.skip, "asyncio.sleep"),
        (lambda: env.until(lambda: True), "asyncio.sleep"),
    ]
    for call, instead in refused:
        with pytest.raises(RuntimeError, match=instead):
            call()
    assert await handle is None


async def test_the_time_of_the_loop_does_not_go_back(own_functions: Registry) -> None:
    @workflow
    async def w() -> None:
        await sleep("1d")

    loop = asyncio.get_running_loop()
    before = loop.time()
    async with WorkflowEnvironment(functions=own_functions):
        await w.run()
        during = loop.time()
    assert during - before >= 86400
    assert during <= loop.time() < during + 60
    await asyncio.sleep(0.001)
    async with asyncio.timeout(30):
        await asyncio.to_thread(lambda: None)
    async with WorkflowEnvironment(functions=own_functions) as again:
        assert await w.run() is None
        assert again.elapsed == timedelta(days=1)


def test_a_loop_that_was_closed_is_followed_by_another(env: WorkflowEnvironment) -> None:
    @activity
    async def slow() -> int:
        await asyncio.sleep(5)
        return 1

    @workflow
    async def w() -> int:
        return await slow.run()

    async def main() -> str:
        handle = await w.queue()
        await asyncio.sleep(1)
        return handle.id

    first = asyncio.run(main())
    assert env.handle(first).result() == 1
    assert env.calls(slow)[0].attempts == 2, "its body went with its loop"


async def test_another_loop_than_asyncios_is_refused(
    own_functions: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Foreign:
        def is_closed(self) -> bool:
            return False

    environment = WorkflowEnvironment(functions=own_functions)
    monkeypatch.setattr(asyncio, "get_running_loop", Foreign)
    with pytest.raises(RuntimeError, match=r"Foreign.*asyncio's own loop"):
        environment.start(workflow(_nothing))
    monkeypatch.undo()
    environment.close()


async def _nothing() -> None: ...
