"""Two builds of the library in one process: two Go runtimes, which leave each other alone."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE.parents[1] / "build/faults/libworkflows.so"
RELEASED = Path(os.environ.get("WORKFLOWS_LIBRARY", HERE.parents[1] / "build/libworkflows.so"))

PROGRAM = """
import json, os, sys, threading
import abi_host
from pathlib import Path

hosts = []
for path in sys.argv[1:]:
    abi_host.LIBRARY = Path(path)
    hosts.append(abi_host.Host())
engines = [host.open(b'{"migrate": true}')[1] for host in hosts]
assert all(engines), engines

REQUEST = b'{"items": [{"kind": "job", "name": "n"}]}'
ids = []
def create(host, engine):
    for _ in range(200):
        made = host.call(engine, "create_execution", REQUEST)
        ids.append(made.body["ok"]["results"][0]["id"])

threads = [threading.Thread(target=create, args=each) for each in zip(hosts, engines)]
for each in threads: each.start()
for each in threads: each.join()
seen = [
    {host.call(engine, "get_execution", json.dumps({"id": id}).encode()).status for id in ids}
    for host, engine in zip(hosts, engines)
]
first, second = zip(hosts, engines)
closed = [first[0].c.wf_close(first[1], 1000), second[0].call(second[1], "stats", b"{}").status]
mapped = {line.split()[-1] for line in open("/proc/self/maps") if "libworkflows.so" in line}
print(len(ids), seen, closed, len(mapped), second[0].c.wf_close(second[1], 1000))
"""


def test_two_libraries_in_one_process_work_beside_each_other(database_url: str) -> None:
    lived = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(RELEASED), str(BUILT)],
        env={
            **os.environ,
            "PYTHONPATH": str(HERE.parent / "abi"),
            "WORKFLOWS_DATABASE_URL": database_url,
            "WORKFLOWS_SCHEMA": f"two_{uuid.uuid4().hex[:16]}",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert lived.stdout == "400 [{0}, {0}] [0, 0] 2 0\n", lived.stderr
