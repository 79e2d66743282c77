"""A panic anywhere in the library: the host process lives on, and nobody waits for ever."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILT = HERE.parents[1] / "build/faults/libworkflows.so"
RELEASED = Path(os.environ.get("WORKFLOWS_LIBRARY", HERE.parents[1] / "build/libworkflows.so"))
PATH = ("abi", "crash", "programs")

# All that there are: test_every_export_and_goroutine_of_the_code_is_listed.
EXPORTS = ("main", "open", "operate", "channel_open", "channel_close", "close")
# The points of the library's goroutines, and what the guard over each calls it.
GOROUTINES = {
    "channel": "a channel",
    "crew": "a goroutine of the crew",
    "request": "a submitted operation",
    "look": "minding the host of a channel",
    "put_back": "putting back a claim",
    "drain": "draining the workers of a session",
    "give_up": "stopping the workers of a session",
}
LOOPS = (
    *("flusher", "reader", "hints", "listener", "heartbeat", "ticker", "waiters"),
    *("set_aside", "waking"),
)
# Some of the statements; core/engine/failpoints_test.go has all.
STATEMENTS = (
    *("version", "register", "beat", "tick", "create", "claim", "advance", "signal", "fire"),
    *("finish", "get", "notify", "set_worker"),
)
COMMITS = ("create", "claim", "advance", "finish")
POINTS = (
    # The adapter brings none of the other two about; they have tests of their own.
    *(f"before:export_{name}" for name in EXPORTS if name != "operate"),
    *(f"before:goroutine_{name}" for name in GOROUTINES if name != "put_back"),
    *(f"before:loop_{name}" for name in LOOPS),
    *(f"before:{name}" for name in STATEMENTS),
    *(f"after:{name}" for name in COMMITS),
)
# What an ordinary life does not pass, and the scene of the program that does.
SCENES = {"before:loop_set_aside": "locked", "before:loop_waking": "suspect"}


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


# A channel is closed with a claim that nobody has read; the job has to come back all the same.
ABANDONED = """
from abi_host import Host, ask, frame
host = Host()
_, engine, _ = host.open(b'{"migrate": true}')
ask(host, engine, "create_execution", items=[{"kind": "job", "name": "j"}])
for _ in range(2):
    worker = ask(host, engine, "start_worker", queues=["default"])["worker_id"]
    channel = host.channel(engine)
    claim = '{"worker_id": "%s", "n": 1, "wait_ms": 9000}' % worker
    channel.submit(frame(1, "claim", claim.encode()))
    channel.settle(1)
    held = ask(host, engine, "list_executions", status=["running"])["executions"]
    print(len(held), channel.close(), host.c.wf_close(engine, 5000))
    _, engine, _ = host.open(b"")
print(host.c.wf_close(engine, 5000))
"""


def live(database_url: str, rules: str, *program: str) -> subprocess.CompletedProcess[str]:
    """Run a program under rules, in a schema of its own."""
    return subprocess.run(
        [sys.executable, *program],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(HERE.parent / name) for name in PATH),
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
    scene = SCENES.get(point, "life")
    lived = live(database_url, f"{point}:1:panic", str(HERE / "panic_program.py"), scene)
    assert lived.returncode == 0, lived.stderr
    assert lived.stdout == "lived\n"
    assert f"failpoint {point}" in lived.stderr, "it was not passed"
    kind, _, name = point.removeprefix("before:").partition("_")
    if kind == "goroutine":
        assert f"{GOROUTINES[name]} panicked" in lived.stderr


def test_every_export_and_goroutine_of_the_code_is_listed() -> None:
    library, engine = code("capi"), code("core/engine")
    exports = re.findall(r"^//export go(\w+)$", library, re.MULTILINE)
    # goStarted does nothing.
    assert {"Started", *(name.title().replace("_", "") for name in EXPORTS)} == set(exports)
    assert passed(library, "export") == set(EXPORTS)
    assert passed(library, "goroutine") == set(GOROUTINES)
    assert started(library) == set(GOROUTINES.values())
    assert {name.replace(" ", "_") for name in started(engine)} == set(LOOPS)


def code(package: str) -> str:
    files = (HERE.parents[1] / package).glob("*.go")
    return "\n".join(file.read_text() for file in files if not file.name.endswith("_test.go"))


def passed(package: str, kind: str) -> set[str]:
    return set(re.findall(rf'failpoint\.Pass\("{kind}", "(\w+)"\)', package))


def started(package: str) -> set[str]:
    """Answer what is started under a name; core has no other goroutines: capi/panics_test.go."""
    return set(re.findall(r'\b(?:spawn|spawnLoop|guarded)\("([^"]+)"', package))


def test_a_panic_in_a_blocking_call_is_its_answer(database_url: str) -> None:
    lived = live(database_url, "before:export_operate:1:panic", "-c", BLOCKING)
    assert lived.stdout == "0 [-8, 0]\n", lived.stderr


def test_a_panic_while_a_claim_is_put_back_leaves_it_to_the_end_of_the_session(
    database_url: str,
) -> None:
    lived = live(database_url, "before:goroutine_put_back:1:panic", "-c", ABANDONED)
    assert lived.stdout == "1 0 0\n1 0 0\n0\n", lived.stderr
    assert f"{GOROUTINES['put_back']} panicked" in lived.stderr


def test_a_write_that_panics_again_is_answered(database_url: str) -> None:
    lived = live(database_url, "before:create:*:panic", "-c", HOPELESS)
    assert lived.stdout == "0 internal 0\n", lived.stderr
    assert lived.stderr.count("a write panicked") == 2


def test_a_released_library_has_no_failpoints() -> None:
    assert b"core/failpoint" in BUILT.read_bytes()
    assert b"core/failpoint" not in RELEASED.read_bytes()
    assert b"WORKFLOWS_FAILPOINTS" not in RELEASED.read_bytes()
