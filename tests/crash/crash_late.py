"""A worker without the adapter, which writes when it has long been declared dead.

It claims a job and a workflow, then waits at the gate "write" and writes whatever a holder can.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from crash_journal import blocking_gate, note
from workflows import Client, WorkflowsError
from workflows._operations import Operation

_WORKER: Mapping[str, Any] = {
    "queues": ["default"],
    "language": "python",
    "name": "one and the same",
    "heartbeat_interval_ms": 200,
    "heartbeat_timeout_ms": 1000,
}


def start(client: Client, concurrency: int) -> str:
    request = {**_WORKER, "concurrency": concurrency}
    return client.engine.call(Operation.START_WORKER, request)["worker_id"]


def claim(client: Client, worker_id: str) -> dict[str, Any]:
    held: dict[str, Any] = {}
    while len(held) < 2:
        request = {"worker_id": worker_id, "n": 2, "wait_ms": 1000}
        for execution in client.engine.call(Operation.CLAIM, request)["executions"]:
            held[execution["id"]] = execution
    return held


def main(job: str, workflow: str) -> None:
    client = Client()
    worker_id = start(client, concurrency=2)
    held = claim(client, worker_id)
    leases = {
        "job": {"id": job, "lease": held[job]["lease"]},
        "workflow": {"id": workflow, "lease": held[workflow]["lease"]},
    }
    error = {"type": "Late", "message": "too late"}
    step = {"type": "step_completed", "sequence": 1, "name": "late", "payload": 1}
    advance = {**leases["workflow"], "position": held[workflow]["position"]}
    sleep = {"type": "start_timer", "sequence": 1, "delay_ms": 0}
    writes: dict[str, tuple[Operation, dict[str, Any]]] = {
        "complete": (Operation.COMPLETE_EXECUTION, {**leases["job"], "result": "late"}),
        "fail": (Operation.FAIL_EXECUTION, {**leases["job"], "error": error}),
        "release": (Operation.RELEASE, {**leases["job"], "reason": "drain"}),
        "progress": (Operation.HEARTBEAT, {**leases["job"], "progress": "late"}),
        "keep": (Operation.ADVANCE_WORKFLOW, {**advance, "then": "keep", "events": [step]}),
        "suspend": (
            Operation.ADVANCE_WORKFLOW,
            {**advance, "then": "suspend", "commands": [sleep]},
        ),
        "finish": (Operation.ADVANCE_WORKFLOW, {**advance, "then": "complete", "result": "late"}),
    }
    note("claimed", "both")
    blocking_gate("write")
    for what, (operation, item) in writes.items():
        note("answered", what, code=answer(client, worker_id, operation, item))


def answer(client: Client, worker_id: str, operation: Operation, item: dict[str, Any]) -> str:
    """Write once, and answer the fault's code, or what was accepted."""
    request: dict[str, Any] = {"items": [item]}
    if operation is Operation.HEARTBEAT:
        request["worker_id"] = worker_id
    try:
        [result] = client.engine.call(operation, request)["results"]
    except WorkflowsError as error:
        return error.code
    return result["error"]["code"] if "error" in result else f"accepted: {result}"


if __name__ == "__main__":
    main(*sys.argv[1:])
