"""Minutes of load on a database that has worked for long: does it stay as fast?"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contestants import BUILD, CEILING, Contestant, check
from measuring import Sample, measure
from reporting import commit, machine
from server import Database, Server

ROWS = 1_000_000
WINDOWS = 5  # at least, however short the run is

# PostgreSQL's own: here checkpoints belong to what is measured.
SETTINGS = {"max_wal_size": "1GB", "checkpoint_timeout": "5min"}

# No-op workflows that ended in the days before, with ids of their time and the history of one.
FILL = """
INSERT INTO workflows.executions (id, root_id, kind, name, queue, status, priority, run_at,
    created_at, started_at, finished_at, epoch, history_length, attempts, language, args, result)
SELECT id, id, 'workflow', 'noop', 'workflows', 'completed', 5, at, at, at, at, 1, 1, 1, 'python',
    '[]', 'null'
FROM (SELECT now() - (%(rows)d - i) * interval '0.5 second' - interval '1 minute' AS at, i
      FROM generate_series(1, %(rows)d) AS i) AS times,
    LATERAL (SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
      || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid AS id) AS ids;
INSERT INTO workflows.history (execution_id, run, position, type, payload, at)
SELECT id, 1, 1, 'started', '{"language":"python"}', created_at FROM workflows.executions;
"""

SIZES = """
SELECT pg_table_size('workflows.executions') || ' ' || pg_table_size('workflows.history') || ' '
    || pg_indexes_size('workflows.executions') + pg_indexes_size('workflows.history')"""


def sustain(
    options: argparse.Namespace,
    contestants: list[Contestant],
    binaries: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Measure each of this project's contestants, and answer what it did by the minute."""
    seconds: float = options.sustained_seconds
    report: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
        "commit": commit(),
        "machine": machine(),
        "seconds": seconds,
        "rows": options.rows,
        "results": {},
    }
    with Server(binaries, BUILD, **SETTINGS) as server:
        for contestant in contestants:
            if contestant.peer or contestant.name == CEILING:
                continue
            say(f"sustained: {contestant.title}")
            report["results"][contestant.name] = _one(contestant, server, seconds, options.rows)
    return report


def _one(contestant: Contestant, server: Server, seconds: float, rows: int) -> list[Sample]:
    windows: list[Sample] = []

    def hear(database: Database, line: Sample) -> bool:
        if "window" in line:
            parts = server.query(SIZES, database.name).split()
            sizes = zip(("executions", "history", "indexes"), map(int, parts), strict=True)
            windows.append({**line, **dict(sizes)})
        return "window" in line

    measure(
        contestant,
        server,
        seconds,
        ["sustained"],
        hear,
        prepare=lambda database: _fill(server, database, rows),
        BENCH_WINDOW=str(min(60.0, seconds / WINDOWS)),
    )
    return windows


def _fill(server: Server, database: Database, rows: int) -> None:
    command = [sys.executable, "-m", "workflows", "migrate"]
    library = os.environ.get("WORKFLOWS_LIBRARY", "")
    check(command, WORKFLOWS_DATABASE_URL=database.url, WORKFLOWS_LIBRARY=library)
    server.query(FILL % {"rows": rows}, database.name)
    # What autovacuum has long done where rows have come one by one.
    server.query("VACUUM (ANALYZE)", database.name)
    server.query("CHECKPOINT", database.name)
