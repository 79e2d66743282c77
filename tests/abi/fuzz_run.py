"""Runs the fuzzer's builds against a PostgreSQL of their own; see fuzz.c.

fuzz_run.py CALLS SEED ADDRESS_BUILD RACE_BUILD
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid


def configuration(directory: str) -> str:
    binaries = os.environ.get("WORKFLOWS_TEST_POSTGRES_BIN")
    return json.dumps(
        {
            "database_url": f"embedded:{directory}/postgres",
            "schema": f"fuzz_{uuid.uuid4().hex}",
            "migrate": True,
            "postgres_binaries": [binaries] if binaries else [],
        }
    )


def main(calls: str, seed: str, *builds: str) -> None:
    # Go's heap holds memory of C where the search for leaks does not look.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    with tempfile.TemporaryDirectory() as directory:
        for build in builds:
            print(f"==> {build} {calls} {seed}", flush=True)
            command = [build, configuration(directory), calls, seed]
            done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                sys.exit(f"{done.stderr[-20_000:]}\n1 crash: {build} ended with {done.returncode}")


if __name__ == "__main__":
    main(*sys.argv[1:])
