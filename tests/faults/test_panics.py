"""A panic anywhere in the library: the host process lives on, and nobody waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILT = HERE.parents[1] / "build/faults/libworkflows.so"
RELEASED = Path(os.environ.get("WORKFLOWS_LIBRARY", HERE.parents[1] / "build/libworkflows.so"))

EXPORTS = ("open", "channel_open", "channel_close", "close")
GOROUTINES = ("channel", "request", "drain")
LOOPS = ("flusher", "reader", "hints", "listener", "heartbeat", "ticker", "waiters")
STATEMENTS = (
    *("version", "register", "beat", "tick", "create", "claim", "advance", "signal", "fire"),
    *("finish", "get", "notify", "set_worker"),
)
COMMITS = ("create", "claim", "advance", "finish")
POINTS = (
    *(f"before:export_{name}" for name in EXPORTS),
    *(f"before:goroutine_{name}" for name in GOROUTINES),
    *(f"before:loop_{name}" for name in LOOPS),
    *(f"before:{name}" for name in STATEMENTS),
    *(f"after:{name}" for name in COMMITS),
)


# No adapter calls what blocks.
BLOCKING = """
from abi_host import Host
host = Host()
status, engine, _ = host.open(b'{"migrate": true}')
print(status, [host.call(engine, "stats", b"{}").status for _ in range(2)])
"""


# A write that panics is tried again by itself, once.
HOPELESS = """
from abi_host import Host
host = Host()
status, engine, _ = host.open(b'{"migrate": true}')
created = host.call(engine, "create_execution", b'{"items": [{"kind": "job", "name": "j"}]}')
print(status, created.body["error"]["code"], host.call(engine, "stats", b"{}").status)
"""


def live(database_url: str, rules: str, *program: str) -> subprocess.CompletedProcess[str]:
    """Run a program under rules, in a schema of its own."""
    return subprocess.run(
        [sys.executable, *(program or (str(HERE / "panic_program.py"),))],
        env={
            **os.environ,
            "PYTHONPATH": str(HERE.parent / "abi"),
            "WORKFLOWS_LIBRARY": str(BUILT),
            "WORKFLOWS_DATABASE_URL": database_url,
            "WORKFLOWS_SCHEMA": f"panic_{uuid.uuid4().hex[:16]}",
            "WORKFLOWS_FAILPOINTS": rules,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("point", POINTS)
def test_a_panic_ends_no_process_and_leaves_nobody_waiting(point: str, database_url: str) -> None:
    lived = live(database_url, f"{point}:1:panic")
    assert lived.returncode == 0, lived.stderr
    assert lived.stdout == "lived\n"
    assert f"failpoint {point}" in lived.stderr, "it was not passed"


def test_a_panic_in_a_blocking_call_is_its_answer(database_url: str) -> None:
    lived = live(database_url, "before:export_operate:1:panic", "-c", BLOCKING)
    assert lived.stdout == "0 [-8, 0]\n", lived.stderr


def test_a_write_that_panics_again_is_answered(database_url: str) -> None:
    lived = live(database_url, "before:create:*:panic", "-c", HOPELESS)
    assert lived.stdout == "0 internal 0\n", lived.stderr
    assert lived.stderr.count("a write panicked") == 2


def test_a_released_library_has_no_failpoints() -> None:
    assert b"core/failpoint" in BUILT.read_bytes()
    assert b"core/failpoint" not in RELEASED.read_bytes()
    assert b"WORKFLOWS_FAILPOINTS" not in RELEASED.read_bytes()
