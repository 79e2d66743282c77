"""A worker whose database goes away and comes back logs much, and no password."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from security_servers import Place, serve
from test_canary import ROOT, check
from workflows import Client

pytestmark = pytest.mark.xdist_group("security")

PYTHON = """
from workflows import job

@job(name="canary", queue="canary")
def canary() -> None:
    print("it sang", flush=True)
"""
NODE = """
const { join } = require('node:path')
const { job, Worker } = require(process.argv[1])
require(join(require.resolve(process.argv[1]), '../_log.js')).setLogLevel('debug')
const canary = job({ name: 'canary' }, async () => console.log('it sang'))
void new Worker({ queues: ['canary'], functions: [canary] }).run()
"""
WORKERS = {
    "Python": [
        *(sys.executable, "-X", "dev", "-m", "workflows", "worker", "-m", "canaries"),
        *("-q", "canary"),
    ],
    "Node": ["node", "-e", NODE, str(ROOT / "adapters/node")],
}
PATIENCE = 30.0


def until(log: Path, holds: Callable[[str], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds(log.read_text()):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def sing(place: Place) -> None:
    client = Client(place.url(), schema="canaries")
    client.migrate_sync()
    client.create_sync([{"kind": "job", "name": "canary", "queue": "canary"}])
    client.close()


@pytest.mark.parametrize("language", WORKERS)
def test_no_worker_logs_the_password_in_an_outage(
    language: str, binaries: Path, tmp_path: Path
) -> None:
    (tmp_path / "canaries.py").write_text(PYTHON)
    log = tmp_path / "log"
    with serve(binaries, tls=False) as place, log.open("wb") as output:
        sing(place)
        worker = subprocess.Popen(
            WORKERS[language],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
                "PYTHONUNBUFFERED": "1",
                "WORKFLOWS_DATABASE_URL": place.url(),
                "WORKFLOWS_SCHEMA": "canaries",
            },
            stdout=output,
            stderr=output,
        )
        try:
            until(log, lambda text: "it sang" in text)
            place.server.stop()
            until(log, lambda text: text.count("cannot be reached") > 2)
            place.server.start()
            sing(place)
            until(log, lambda text: text.count("it sang") == 2)
        finally:
            worker.kill()
            worker.wait()
            check(log.read_text())
    check(log.read_text(), "cannot be reached")
