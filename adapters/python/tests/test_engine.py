"""Engines: shared, configured, and called by threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import cast

import pytest
import workflows._library as native
from workflows import (
    Closed,
    ExecutionNotFound,
)
from workflows._engine import Engine
from workflows._library import Library
from workflows._operations import Operation

from .fake_library import STUCK, FakeLibrary, refuse


@pytest.fixture
def library() -> Iterator[FakeLibrary]:
    fake = FakeLibrary()
    yield fake
    for channel in fake.channels.values():
        channel.close()
        channel.theirs.close()


@pytest.fixture
def engine(library: FakeLibrary) -> Iterator[Engine]:
    engine = Engine({"database_url": "postgres:///x"}, library=cast("Library", library))
    yield engine
    engine.close()


def test_a_blocking_call_works_without_a_loop_and_reuses_its_channel(
    engine: Engine, library: FakeLibrary
) -> None:
    assert [engine.call(Operation.STATS, {"n": n}) for n in range(3)] == [
        {"n": n} for n in range(3)
    ]
    assert len(library.channels) == 1
    library.busy = 2
    assert engine.call(Operation.STATS, {"n": 4}) == {"n": 4}
    library.reply = refuse("execution_not_found")
    with pytest.raises(ExecutionNotFound):
        engine.call(Operation.STATS, {})


def test_ctrl_c_ends_a_blocking_call_between_two_slices_and_cancels_it(
    engine: Engine, library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices: list[int] = []

    def wait(channel: int, timeout_ms: int) -> int:
        slices.append(timeout_ms)
        if len(slices) == 3:
            raise KeyboardInterrupt
        return native.TIMEOUT

    monkeypatch.setattr(library, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        engine.call(Operation.STATS, STUCK)
    assert max(slices) <= 100
    assert library.channels[1].closed


def test_a_closed_engine_refuses_blocking_calls(engine: Engine) -> None:
    engine.call(Operation.STATS, {})
    engine.close()
    engine.close()
    with pytest.raises(Closed):
        engine.call(Operation.STATS, {})


def test_engines_are_shared_by_configuration_until_the_last_close() -> None:
    a = Engine.shared("postgres:///shared", schema="x")
    b = Engine.shared("postgres:///shared", schema="x")
    other = Engine.shared("postgres:///shared", schema="y")
    assert a is b
    assert other is not a
    a.close()
    assert Engine.shared("postgres:///shared", schema="x") is b
    for engine in (b, b, other):
        engine.close()
    again = Engine.shared("postgres:///shared", schema="x")
    assert again is not a
    again.close()


def test_the_environment_fills_what_was_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKFLOWS_DATABASE_URL", "postgres:///env")
    monkeypatch.setenv("WORKFLOWS_SCHEMA", "env_schema")
    monkeypatch.delenv("WORKFLOWS_LISTEN_URL", raising=False)
    with contextlib.closing(Engine.shared()) as engine:
        assert engine.config == {"database_url": "postgres:///env", "schema": "env_schema"}
    with contextlib.closing(Engine.shared("postgres:///given", schema="given")) as engine:
        assert engine.config == {"database_url": "postgres:///given", "schema": "given"}


@pytest.mark.parametrize("url", [None, "embedded:", "embedded:/tmp/x"])
def test_an_embedded_database_is_told_of_the_binaries_that_were_found(
    url: str | None, library: FakeLibrary
) -> None:
    config = {} if url is None else {"database_url": url}
    with contextlib.closing(Engine(config, library=cast("Library", library))) as engine:
        engine.open()
    [binaries] = library.configs[0]["postgres_binaries"]
    assert os.access(os.path.join(binaries, "postgres"), os.X_OK)


def test_a_real_database_is_not(engine: Engine, library: FakeLibrary) -> None:
    engine.open()
    assert library.configs == [{"database_url": "postgres:///x"}]
