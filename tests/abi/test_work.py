"""Work through the interface: claims that lose their caller, payloads, many long polls."""

from __future__ import annotations

import ctypes
import json
import os
import time
import uuid
from typing import Any

from abi_host import OK, TIMEOUT, Channel, Host, ask, frame


def enqueue(host: Host, engine: int, queue: str) -> str:
    items = [{"kind": "job", "name": "abi", "queue": queue}]
    return ask(host, engine, "create_execution", items=items)["results"][0]["id"]


def worker(host: Host, engine: int, queue: str) -> str:
    return ask(host, engine, "start_worker", queues=[queue])["worker_id"]


def claim(token: int, worker_id: str, wait_ms: int = 0) -> bytes:
    request = json.dumps({"worker_id": worker_id, "n": 10, "wait_ms": wait_ms}).encode()
    return frame(token, "claim", request)


def becomes(host: Host, engine: int, execution: str, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while (found := ask(host, engine, "get_execution", id=execution))["status"] != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def test_a_claim_that_nobody_drains_is_put_back(host: Host, engine: int, queue: str) -> None:
    execution = enqueue(host, engine, queue)
    worker_id = worker(host, engine, queue)
    channel = host.channel(engine)
    assert channel.submit(claim(1, worker_id)) == OK
    channel.settle(1)
    assert ask(host, engine, "get_execution", id=execution)["status"] == "running"
    assert channel.close() == OK
    found = becomes(host, engine, execution, "pending")
    assert (found["releases"], found["failures"], found["crashes"]) == (1, 0, 0)
    ask(host, engine, "stop_worker", worker_id=worker_id)


def test_a_cancelled_claim_holds_nothing(host: Host, engine: int, queue: str) -> None:
    worker_id = worker(host, engine, queue)
    channel = host.channel(engine)
    held: list[str] = []
    for token in range(30):
        assert channel.submit(claim(token, worker_id, 600_000)) == OK
        if token % 3:
            assert channel.wait(token) == TIMEOUT
        execution = enqueue(host, engine, queue)
        assert channel.cancel(token) == OK
        reply = channel.await_(1)[token]
        if reply.code:
            assert reply.code == "cancelled"
            items = [{"id": execution}]
            becomes(host, engine, execution, "pending")
            ask(host, engine, "terminate_execution", items=items)
        else:
            held += [claimed["id"] for claimed in reply.body["ok"]["executions"]]
    ask(host, engine, "stop_worker", worker_id=worker_id)
    for execution in held:
        becomes(host, engine, execution, "pending")
    assert channel.close() == OK


def test_closing_a_handle_stops_its_workers(host: Host, config: bytes, engine: int) -> None:
    """The engine is shared: heartbeats would keep what nobody will finish."""
    _, other, _ = host.open(config)
    queue = f"q-{uuid.uuid4().hex}"
    execution = enqueue(host, engine, queue)
    worker_id = worker(host, other, queue)
    request = json.dumps({"worker_id": worker_id, "n": 1}).encode()
    assert len(host.call(other, "claim", request).body["ok"]["executions"]) == 1
    assert host.c.wf_close(other, 2000) == OK
    assert becomes(host, engine, execution, "pending")["crashes"] == 0


def test_payloads_come_back_byte_for_byte(host: Host, engine: int, queue: str) -> None:
    args = (
        b'[1E2,-0.0,9007199254740993,1e400,"\\ud800","\\u0000","\xe2\x80\xa8</script>&",'
        b'{"b":1,"a":2,"b":3,"__proto__":{}},[[[]]]]'
    )
    created = host.call(
        engine,
        "create_execution",
        b'{"items":[{"kind":"job","name":"abi","queue":"%s","args":%s}]}' % (queue.encode(), args),
    )
    execution = created.body["ok"]["results"][0]["id"]
    channel = host.channel(engine)
    request = json.dumps({"id": execution}).encode()
    assert channel.submit(frame(1, "get_execution", request)) == OK
    channel.settle(1)
    assert args in raw_drain(channel)
    assert channel.close() == OK


def raw_drain(channel: Channel) -> bytes:
    out, n = ctypes.c_void_p(), ctypes.c_size_t()
    channel.host.c.wf_drain(channel.handle, 1, ctypes.byref(out), ctypes.byref(n))
    return channel.host.text(out) or b""


def test_a_thousand_long_polls_take_no_threads(
    host: Host, engine: int, channel: Channel, queue: str
) -> None:
    execution = enqueue(host, engine, queue)
    wait = json.dumps({"id": execution, "wait_ms": 600_000}).encode()
    threads, memory = len(os.listdir("/proc/self/task")), resident()
    assert channel.submit(*(frame(token, "wait_execution", wait) for token in range(1000))) == OK
    assert channel.wait(300) == TIMEOUT
    assert len(os.listdir("/proc/self/task")) < threads + 20
    assert resident() < memory + (64 << 20)
    ask(host, engine, "terminate_execution", items=[{"id": execution}])
    done = channel.await_(1000)
    assert {reply.body["ok"]["status"] for reply in done.values()} == {"cancelled"}


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
