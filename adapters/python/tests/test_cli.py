"""The command line: what is the library's, and the worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import workflows
from workflows import _cli
from workflows._library import Library

Run = Callable[..., "subprocess.CompletedProcess[str]"]

MODULE = """
import asyncio, signal, os
from workflows import job

@job(queue="mail")
async def greet(name: str) -> str:
    return f"hello {name}"
"""


def test_help_lists_the_worker_among_the_commands(command_line: Run) -> None:
    done = command_line("--help")
    assert done.returncode == 0, done.stderr
    for command in ("migrate", "status", "list", "cancel", "worker"):
        assert f"\n  {command} " in done.stdout


def test_the_version_names_the_package_and_the_library(command_line: Run) -> None:
    done = command_line("--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"workflows {workflows.__version__} (Python 3.")
    assert str(Library.get().path) in done.stdout


def test_a_mistake_is_told_and_exits_with_2(command_line: Run) -> None:
    done = command_line("frobnicate")
    assert done.returncode == 2
    assert "frobnicate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_library_is_told_without_a_traceback(command_line: Run) -> None:
    done = command_line("stats", WORKFLOWS_LIBRARY="/nowhere.so")
    assert done.returncode == 2
    assert done.stderr == "error: WORKFLOWS_LIBRARY names /nowhere.so, which is not there\n"


def test_the_worker_has_its_own_help(command_line: Run) -> None:
    done = command_line("worker", "--help")
    assert done.returncode == 0
    for option in ("--module", "--queue", "--concurrency", "SIGTERM"):
        assert option in done.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["worker"], "-m/--module"),
        (["worker", "-m", "x", "--concurrency", "0"], "must be 1 or more"),
        (["worker", "-m", "x", "--concurrency", "many"], "must be 1 or more"),
        (["worker", "-m", "no_such_module"], "there is no module 'no_such_module'"),
        (["worker", "-m", "sys.no_such_module"], "there is no module 'sys.no_such_module'"),
        (["--schema", "x", "worker", "-m", "x", "--frobnicate"], "frobnicate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",  # pyright: ignore
)
def test_a_worker_that_cannot_start_says_why_and_exits_with_2(
    command_line: Run, arguments: list[str], reason: str
) -> None:
    done = command_line(*arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_that_fails_is_shown_with_its_traceback(command_line: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    done = command_line("worker", "-m", "broken")
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert "the module 'broken' could not be imported" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["worker", "-q", "a"], "worker"),
        (["--schema", "worker", "list"], "list"),
        (["--schema", "worker", "worker"], "worker"),
        (["--database-url", "--schema", "worker"], "worker"),
        (["--database-url", "x", "--json", "worker"], "worker"),
        (["--schema=x", "migrate"], "migrate"),
        ([], None),
        (["--schema"], None),
    ],
)
def test_the_command_is_found_behind_global_flags(
    arguments: list[str], command: str | None
) -> None:
    at = _cli._command_at(arguments)  # pyright: ignore[reportPrivateUsage]
    assert (None if at is None else arguments[at]) == command


def test_ctrl_c_ends_a_command_of_the_library(tmp_path: Path) -> None:
    code = "import sys, workflows._cli as c; print(flush=True); c.main(['--help']); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert any(b"worker" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_runs_what_is_queued_and_stops_at_a_signal(
    database: str, tmp_path: Path, by: signal.Signals
) -> None:
    (tmp_path / "greetings.py").write_text(MODULE)
    client = workflows.Client(database)
    worker = subprocess.Popen(
        [sys.executable, "-m", "workflows", "worker", "-m", "greetings", "-q", "mail"],
        cwd=tmp_path,
        env={**os.environ, "WORKFLOWS_DATABASE_URL": database},
        stderr=subprocess.PIPE,
    )
    try:
        item = {"kind": "job", "name": "greet", "queue": "mail", "args": ["Ada"]}
        [created] = client.create_sync([item])
        handle = workflows.Handle[str](created["id"], client=client)
        assert handle.result_sync(30) == "hello Ada"
        worker.send_signal(by)
        _, errors = worker.communicate(timeout=30)
        assert worker.returncode == 0, errors
        assert b"has stopped" in errors
    finally:
        worker.kill()
        worker.communicate()
        client.close()
