"""Many executions at once, with and without a database that crashes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from crash_functions import crash_busy, crash_job
from crash_stage import BINARIES, Stage
from workflows import Client

# Nobody may look dead for want of a processor.
UNHURRIED = {
    "WORKFLOWS_WORKER_HEARTBEAT_INTERVAL": "2",
    "WORKFLOWS_WORKER_HEARTBEAT_TIMEOUT": "30",
}


async def test_many_workers_run_each_of_five_thousand_jobs_once(stage: Stage) -> None:
    """Q3."""
    jobs = 5000
    items = [crash_job.execution((n,), {}) for n in range(jobs)]
    created = await stage.client.create(items)
    assert len({each["id"] for each in created}) == jobs
    for n in range(5):
        stage.spawn(f"worker {n}", concurrency=10, environment=UNHURRIED)
    await stage.until(lambda: stage.count("ended") >= jobs, "all to end", 60)
    await asyncio.gather(*(stage.client.wait(each["id"], 20) for each in created[-50:]))
    ran = Counter(entry["what"] for entry in stage.entries("began"))
    assert ran == {f"job {n}": 1 for n in range(jobs)}
    assert len({entry["worker"] for entry in stage.entries("began")}) == 5

    async def unfinished() -> list[str]:
        page = await stage.client.list(status=["pending", "running"], limit=1000)
        return [execution["id"] for execution in page["executions"]]

    await stage.becomes(unfinished, [])


@pytest.fixture
async def private(tmp_path: Path) -> AsyncIterator[Server]:
    """A PostgreSQL of this test alone, and a stage on it."""
    server = Server(tmp_path / "postgres")
    async with Client(server.url, postgres_binaries=BINARIES, pool_size=3) as client:
        await client.migrate()
        server.stage = Stage(server.url, "workflows", tmp_path, client)
        try:
            yield server
        finally:
            server.stage.clear_away()
        server.stage.check_logs()


class Server:
    """An embedded server that a test may crash and start again."""

    stage: Stage

    def __init__(self, directory: Path):
        self.directory = directory
        self.url = f"embedded:{directory}"

    def crash(self) -> None:
        """Stop it as `pg_ctl stop -m immediate` does."""
        pid_file = self.directory / "data" / "postmaster.pid"
        os.kill(int(pid_file.read_text().split("\n", 1)[0]), signal.SIGQUIT)
        deadline = time.monotonic() + 20
        while pid_file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def start(self) -> None:
        """Start it again: opening it does, and its other users keep it running."""
        opener = Client(self.url, schema="opener", migrate=False, postgres_binaries=BINARIES)
        opener.engine.open()
        opener.close()


async def test_a_crash_of_postgresql_loses_and_doubles_nothing(private: Server) -> None:
    """T15: twice, in the middle of jobs and workflows, on workers that nobody restarts."""
    stage = private.stage
    jobs = [await stage.queue(crash_job, n, 0.02) for n in range(400)]
    workflows = [await stage.queue(crash_busy, 10 * n) for n in range(30)]
    workers = [stage.spawn(f"worker {n}", concurrency=5) for n in range(2)]
    for ended in (60, 250):
        await stage.until(lambda ended=ended: stage.count("ended") >= ended, "work to be done")
        noticed = sum(worker.output.count("is tried again") for worker in workers)
        private.crash()
        assert stage.count("ended") < 400, "too late to be in the middle"
        await stage.until(
            lambda noticed=noticed: (
                sum(worker.output.count("is tried again") for worker in workers) > noticed
            ),
            "a worker to miss its database",
        )
        private.start()
    assert await asyncio.gather(*(each.result(40) for each in jobs)) == list(range(400))
    squares = [sum(each * each for each in range(10 * n, 10 * n + 3)) for n in range(30)]
    assert await asyncio.gather(*(each.result(40) for each in workflows)) == squares
    for workflow in workflows:
        types = await stage.types(workflow)
        assert types.count("activity_scheduled") == types.count("activity_completed") == 3
        assert types.count("timer_started") == types.count("timer_fired") == 1
    began = Counter(entry["what"] for entry in stage.entries("began"))
    assert len(began) == 400 + 90
    twice = {what: count for what, count in began.items() if count > 1}
    assert not twice, f"nobody died, and yet bodies ran again: {twice}\n{stage.describe()}"
    for worker in workers:
        worker.send(signal.SIGTERM)
    assert [await stage.exits(worker) for worker in workers] == [0, 0]
