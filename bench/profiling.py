"""Where the time of a workload goes: in PostgreSQL, the engine and the Python adapter.

.venv/bin/python bench/profiling.py workflow_100

The statements are those of the C contestant, with the time that planning took. The
engine's profile is of a Go program that calls operations in JSON, as the C interface
does; `go tool pprof build/bench/profile build/bench/engine.pprof` has all of it. The
adapter's is cProfile's, which makes small functions look more expensive than they are.
"""

from __future__ import annotations

import argparse
import io
import os
import pstats
import subprocess
import sys
from pathlib import Path

from contestants import BUILD, CONTESTANTS, LIBRARY, ROOT, keep_library
from server import Server

RATES = [
    *("enqueue_single", "enqueue_batch", "drain"),
    *("workflow_1", "workflow_100", "steps_100"),
]
# What only the adapters do.
WORKFLOWS = ["workflow_1000", "activities_100", "parallel_100"]
LATENCIES = ["pickup", "pickup_apart", "result", "result_apart"]

# The comment with a statement's name is not in the view, which begins at the first keyword.
STATEMENTS = r"""
SELECT left(regexp_replace(query, '(MATERIALIZED|SELECT|FROM|AS|\(|\s)+', ' ', 'g'), 60)
    AS statement, calls,
    round((rows::numeric / calls), 1) AS rows,
    round((total_plan_time / calls)::numeric, 3) AS plan_ms,
    round((total_exec_time / calls)::numeric, 3) AS execute_ms,
    round((total_plan_time + total_exec_time)::numeric) AS total_ms
FROM pg_stat_statements WHERE calls > 5 ORDER BY total_ms DESC LIMIT 12"""


def run(command: list[str], server: Server, workload: str, **more: str) -> None:
    with server.database() as database:
        environment = {
            **os.environ,
            "BENCH_DATABASE_URL": database.url,
            "BENCH_WORKLOADS": workload,
            "BENCH_ROOT": str(ROOT),
            "WORKFLOWS_LIBRARY": str(LIBRARY),
            **more,
        }
        subprocess.run(command, env=environment, check=True, timeout=120)


def heading(text: str) -> None:
    print(f"\n== {text}\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Shows where the time of a workload goes.")
    parser.add_argument("workload", choices=RATES + WORKFLOWS + LATENCIES)
    parser.add_argument("--seconds", default="3")
    options = parser.parse_args()
    workload = options.workload
    os.environ["BENCH_SECONDS"] = options.seconds

    BUILD.mkdir(parents=True, exist_ok=True)
    keep_library()
    c, node = (next(x for x in CONTESTANTS if x.name == name) for name in ("c", "node"))
    c.build()
    build = ["go", "build", "-C", str(ROOT / "bench"), "-o", str(BUILD / "profile"), "./profile"]
    subprocess.run(build, check=True)
    binaries = Path(os.environ.get("WORKFLOWS_POSTGRES_BIN", ROOT / ".venv/postgres/bin"))
    settings = {"pg_stat_statements.track": "top", "pg_stat_statements.track_planning": "on"}
    with Server(binaries, BUILD, **settings) as server:
        under = node if workload in WORKFLOWS else c
        heading(f"PostgreSQL, under the {under.title} contestant")
        run(under.command, server, workload)
        print(server.query(STATEMENTS, aligned=True))

        if workload in RATES:
            heading("the engine")
            profile = str(BUILD / "engine.pprof")
            run([str(BUILD / "profile"), workload, profile], server, workload)
            top = ["go", "tool", "pprof", "-top", "-cum", "-nodecount=60"]
            subprocess.run([*top, str(BUILD / "profile"), profile], check=True)
        if workload in LATENCIES:
            return
        heading("the Python adapter")
        profile = str(BUILD / "python.cprofile")
        script = str(ROOT / "bench/python/contestant.py")
        run([sys.executable, script], server, workload, BENCH_PROFILE=profile)
        out = io.StringIO()
        pstats.Stats(profile, stream=out).sort_stats("tottime").print_stats(30)
        print(out.getvalue().replace(str(ROOT) + "/", ""))


if __name__ == "__main__":
    main()
