"""Servers that fork after they have loaded the application, and Node's, which begin anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from abi_host import ROOT, Host

APP = """
import os
import workflows

NOBODY = "0191d5c0-0000-7000-8000-000000000000"
client = workflows.Client()

def use():
    try:
        return client.get_sync(NOBODY)
    except workflows.ExecutionNotFound:
        return "works"
    except workflows.Forked as error:
        return "forked: " + str(error)

if os.environ["USE_AT_IMPORT"]:
    assert use() == "works"

def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.getpid()} {use()}".encode()]
"""

pytestmark = pytest.mark.usefixtures("_keeper")


@pytest.fixture
def environment(config: bytes, host: Host) -> dict[str, str]:
    """Name the test's database to programs; its server is already up."""
    settings = json.loads(config)
    return {
        **os.environ,
        "WORKFLOWS_DATABASE_URL": settings["database_url"],
        "WORKFLOWS_SCHEMA": f"fork_{uuid.uuid4().hex}",
    }


@contextmanager
def gunicorn(
    directory: Path, environment: dict[str, str], *, use_at_import: bool
) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """Serve the application with two workers, loaded before they are forked."""
    (directory / "app.py").write_text(APP)
    log = directory / "log"
    options = ["--preload", "--workers=2", "--bind=127.0.0.1:0", "--timeout=20"]
    with log.open("wb") as to:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, "app:app"],
            cwd=directory,
            env={**environment, "USE_AT_IMPORT": "yes" if use_at_import else ""},
            stdout=to,
            stderr=to,
        )
    try:
        deadline = time.monotonic() + 60
        while b"Listening at: http://127.0.0.1:" not in log.read_bytes():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        said = log.read_text().split("Listening at: http://127.0.0.1:")[1]
        yield server, int(said.split()[0])
    finally:
        server.terminate()
        assert server.wait(30) == 0, log.read_text()


def answers(port: int) -> dict[str, str]:
    """Ask until two processes have answered."""
    told: dict[str, str] = {}
    deadline = time.monotonic() + 60

    def ask(_: int) -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=20) as reply:
            return reply.read().decode().split(" ", 1)

    with ThreadPoolExecutor(4) as threads:  # one alone might always reach the same process
        while len(told) < 2 and time.monotonic() < deadline:
            told |= dict(threads.map(ask, range(4)))
    return told


def test_workers_of_a_preloaded_application_are_told_that_they_were_forked(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """O16: at once, with what to do, and the server lives on."""
    with gunicorn(tmp_path, environment, use_at_import=True) as (server, port):
        told = answers(port)
        assert len(told) == 2
        assert str(server.pid) not in told
        for text in told.values():
            assert text.startswith("forked: ")
            assert "post_fork" in text
        assert server.poll() is None


def test_a_preloaded_application_that_uses_nothing_at_import_works(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """O16: a client is made, and the library is loaded by who uses it first."""
    with gunicorn(tmp_path, environment, use_at_import=False) as (_, port):
        assert list(answers(port).values()) == ["works", "works"]


POOL = """
import multiprocessing
from app import use

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        calls = [pool.apply_async(use) for _ in range(4)]
        print(*(call.get(40) for call in calls))
"""


def test_a_pool_that_is_forked_before_anything_was_used_works(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """O16: as Celery forks, whose parent imports the tasks and their client."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "pool.py").write_text(POOL)
    done = subprocess.run(
        [sys.executable, "pool.py"],
        cwd=tmp_path,
        env={**environment, "USE_AT_IMPORT": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "works works works works\n", done.stderr


def test_processes_of_a_cluster_in_node_begin_anew(environment: dict[str, str]) -> None:
    """O16."""
    done = subprocess.run(
        ["node", str(ROOT / "tests" / "abi" / "cluster.cjs")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "works works works works works\n", done.stderr
