"""A worker without the adapter: it claims so many executions, tells their leases, and waits."""

from __future__ import annotations

import sys

from crash_journal import blocking_gate, note
from crash_late import start
from workflows import Client
from workflows._operations import Operation


def main(count: int) -> None:
    client = Client()
    worker_id = start(client, concurrency=count)
    claimed = 0
    while claimed < count:
        request = {"worker_id": worker_id, "n": count - claimed, "wait_ms": 1000}
        for execution in client.engine.call(Operation.CLAIM, request)["executions"]:
            note("claimed", execution["id"], lease=execution["lease"])
            claimed += 1
    blocking_gate("never")


if __name__ == "__main__":
    main(int(sys.argv[1]))
