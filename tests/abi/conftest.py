from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from abi_host import LIBRARY, OK, ROOT, Channel, Host, RunC, RunPython


@pytest.fixture(scope="session", autouse=True)
def _built() -> None:
    assert LIBRARY.is_file(), f"{LIBRARY} is not there: run `make build`, or set WORKFLOWS_LIBRARY"


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Configure an engine with a schema of its own in a PostgreSQL for tests."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    binaries = os.environ.get("WORKFLOWS_TEST_POSTGRES_BIN")
    return json.dumps(
        {
            "database_url": os.environ.get("WORKFLOWS_TEST_DATABASE_URL")
            or f"embedded:{shared / 'abi-postgres'}",
            "schema": f"abi_{uuid.uuid4().hex}",
            "migrate": True,
            "postgres_binaries": [binaries] if binaries else [],
        }
    ).encode()


@pytest.fixture(scope="session")
def host() -> Host:
    return Host()


@pytest.fixture(scope="session")
def _keeper(host: Host, config: bytes) -> Iterator[None]:
    """Hold the shared engine open, so that a test does not pay for it."""
    status, engine, error = host.open(config)
    assert status == OK, error
    yield
    assert host.c.wf_close(engine, 5000) == OK


@pytest.fixture
def engine(host: Host, config: bytes, _keeper: None) -> Iterator[int]:
    status, engine, error = host.open(config)
    assert status == OK, error
    yield engine
    assert host.c.wf_close(engine, 0) == OK


@pytest.fixture
def channel(host: Host, engine: int) -> Iterator[Channel]:
    channel = host.channel(engine)
    yield channel
    assert channel.close() == OK


@pytest.fixture
def queue() -> str:
    return f"q-{uuid.uuid4().hex}"


@pytest.fixture
def run_python(config: bytes) -> RunPython:
    """Run code in a process of its own, with `host`, `engine` and `channel` at hand."""
    prelude = (
        "import ctypes, os, signal, sys, threading, time\n"
        "from abi_host import *\n"
        "config = sys.argv[1].encode()\n"
        "def start():\n"
        "    global host, engine, channel\n"
        "    host = Host()\n"
        "    status, engine, error = host.open(config)\n"
        "    assert status == OK, error\n"
        "    channel = host.channel(engine)\n"
    )

    def run(code: str, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        return subprocess.run(
            [sys.executable, "-c", prelude + code, config.decode()],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
            **options,  # type: ignore[call-overload]
        )

    return run


@pytest.fixture(scope="session")
def run_c(tmp_path_factory: pytest.TempPathFactory) -> RunC:
    """Compile a C program of this directory against the library, and run it."""
    built = tmp_path_factory.mktemp("c")

    def run(source: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        program = built / Path(source).stem
        if not program.exists():
            subprocess.run(
                [
                    *("gcc", "-std=c99", "-O1", "-g", "-pthread"),
                    *("-Wall", "-Wextra", "-Wpedantic", "-Werror"),
                    f"-I{ROOT / 'include'}",
                    str(Path(__file__).parent / source),
                    str(LIBRARY),
                    f"-Wl,-rpath,{LIBRARY.parent}",
                    "-o",
                    str(program),
                ],
                check=True,
            )
        return subprocess.run(
            [str(program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            **{"timeout": 120, **options},  # type: ignore[call-overload]
        )

    return run
