"""Many executions at once, with and without a database that crashes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

from crash_functions import crash_busy, crash_job
from crash_stage import Stage
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
        stage.spawn(f"worker {n}", concurrency=10, **UNHURRIED)
    await stage.until(lambda: stage.count("ended") >= jobs, "all to end", 60)
    await asyncio.gather(*(stage.client.wait(each["id"], 20) for each in created[-50:]))
    ran = Counter(entry["what"] for entry in stage.entries("began"))
    assert ran == {f"job {n}": 1 for n in range(jobs)}
    assert len({entry["worker"] for entry in stage.entries("began")}) == 5

    async def finished() -> bool:
        [queue] = (await stage.client.stats())["queues"]
        return not any(queue.get(state) for state in ("pending", "running"))

    deadline = time.monotonic() + 20
    while not await finished():
        assert time.monotonic() < deadline, stage.describe()


def crash_postgres(directory: Path) -> None:
    """Stop a server of our own as `pg_ctl stop -m immediate` does."""
    pid_file = directory / "data" / "postmaster.pid"
    os.kill(int(pid_file.read_text().split("\n", 1)[0]), signal.SIGQUIT)
    deadline = time.monotonic() + 20
    while pid_file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
