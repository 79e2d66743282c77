"""Sizes, depths and names at their limits, and one bad item in a batch of good ones."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from abi_host import NOBODY, OK, Channel, Host, RunPython, ask, frame

LIMIT = 1 << 20  # of a payload, by default
MANY = 500


def job(queue: str, args: bytes = b"[]", name: str = "abi") -> bytes:
    item = b'"kind":"job","name":%s,"queue":"%s"' % (json.dumps(name).encode(), queue.encode())
    return b'{"items":[{%s,"args":%s}]}' % (item, args)


def started(host: Host, engine: int, queue: str, kind: str = "job") -> list[dict[str, Any]]:
    """Start many executions, claim them all, and answer them."""
    item = {"kind": kind, "name": "abi", "queue": queue}
    ask(host, engine, "create_execution", items=[item] * MANY)
    reply = ask(host, engine, "start_worker", queues=[queue], concurrency=MANY)
    claimed: list[dict[str, Any]] = []
    while len(claimed) < MANY:
        reply |= ask(
            host, engine, "claim", worker_id=reply["worker_id"], n=MANY - len(claimed), wait_ms=5000
        )
        assert reply["executions"]
        claimed += reply["executions"]
    return claimed


def held(execution: dict[str, Any]) -> dict[str, Any]:
    return {"id": execution["id"], "lease": execution["lease"]}


def verdicts(host: Host, engine: int, operation: str, items: list[Any]) -> dict[int, Any]:
    """Answer the errors of a batch by the place of the item."""
    results = ask(host, engine, operation, items=items)["results"]
    assert len(results) == len(items)
    return {n: each["error"] for n, each in enumerate(results) if "error" in each}


def check_text(message: str) -> None:
    assert message.isprintable()
    assert len(message) < 1000


# --- one bad one among many ---------------------------------------------------------


def test_a_bad_request_among_many_fails_alone(
    host: Host, engine: int, channel: Channel, queue: str
) -> None:
    """O12."""
    bad = {
        7: (b"[NaN]", "invalid_request"),
        100: (b'["\xff\x00"]', "invalid_request"),
        101: (b'["\x00\x1b[31m"]', "invalid_request"),
        250: (b"[" * 200 + b"]" * 200, "payload_too_large"),
        499: (b'["' + b"a" * LIMIT + b'"]', "payload_too_large"),
    }
    requests = [job(queue, bad[n][0] if n in bad else b"[%d]" % n) for n in range(MANY)]
    assert channel.submit(*(frame(n, "create_execution", x) for n, x in enumerate(requests))) == OK
    replies = channel.await_(MANY)
    failed = {n: reply for n, reply in replies.items() if reply.code}
    assert {n: reply.code for n, reply in failed.items()} == {
        n: code for n, (_, code) in bad.items()
    }
    for reply in failed.values():
        check_text(reply.body["error"]["message"])
    listed = ask(host, engine, "list_executions", queue=queue, limit=1000)["executions"]
    assert len(listed) == MANY - len(bad)


def test_a_signal_that_is_too_large_keeps_no_other_back(
    host: Host, engine: int, queue: str
) -> None:
    item = {"kind": "workflow", "name": "abi", "queue": queue}
    [made] = ask(host, engine, "create_execution", items=[item])["results"]
    items: list[Any] = [{"id": made["id"], "name": "s", "payload": n} for n in range(MANY)]
    items[123]["payload"] = "a" * LIMIT
    items[321]["name"] = "\x7f"
    items[400]["id"] = NOBODY
    failed = verdicts(host, engine, "send_signal", items)
    assert {n: error["code"] for n, error in failed.items()} == {
        123: "payload_too_large",
        321: "invalid_request",
        400: "execution_not_found",
    }
    for error in failed.values():
        check_text(error["message"])
    found = ask(host, engine, "get_execution", id=made["id"])
    assert found["history_length"] == MANY - 3


def test_a_result_that_is_too_large_keeps_no_other_back(
    host: Host, engine: int, queue: str
) -> None:
    items = [{**held(each), "result": n} for n, each in enumerate(started(host, engine, queue))]
    items[17]["result"] = ["\0" * LIMIT]
    failed = verdicts(host, engine, "complete_execution", items)
    assert {n: error["code"] for n, error in failed.items()} == {17: "payload_too_large"}
    check_text(failed[17]["message"])
    assert verdicts(host, engine, "complete_execution", [{**held(items[17]), "result": 1}]) == {}


def test_what_postgresql_refuses_fails_alone(host: Host, engine: int, queue: str) -> None:
    """A child whose id is taken breaks the statement of the whole batch, which is then split."""
    claimed = started(host, engine, queue, "workflow")
    child = {"kind": "activity", "name": "child", "queue": queue}
    items: list[dict[str, Any]] = [
        {**held(each), "position": each["position"], "then": "keep"}
        | {"commands": [{"type": "schedule", "sequence": 1, "execution": dict(child)}]}
        for each in claimed
    ]
    items[42]["commands"][0]["execution"]["id"] = claimed[0]["id"]
    failed = verdicts(host, engine, "advance_workflow", items)
    assert {n: error["code"] for n, error in failed.items()} == {42: "invalid_request"}
    check_text(failed[42]["message"])


def test_an_error_of_any_type_can_be_reported(host: Host, engine: int, queue: str) -> None:
    """A type with NUL is a text that PostgreSQL does not have; the payload stays what it was."""
    claimed = started(host, engine, queue)
    items = [{**held(each), "error": {"type": "E", "message": "m"}} for each in claimed]
    odd = ["a\0b", "\0", "\ud800", "x" * 10_000, "';--"]
    for n, type_ in enumerate(odd):
        items[n]["error"] = {"type": type_, "message": "\0", "non_retryable": True}
    assert verdicts(host, engine, "fail_execution", items) == {}
    for n, type_ in enumerate(odd):
        found = ask(host, engine, "get_execution", id=claimed[n]["id"])
        assert (found["status"], found["error"]["type"]) == ("failed", type_)


@pytest.mark.parametrize(
    "request_",
    [
        b'{"items":[],"%s":1}' % (b"x" * 1_000_000),
        b'{"items":[{"run_at":"%s"}]}' % (b"x" * 1_000_000),
        b'{"items":[{"id":"%s"}]}' % (b"x" * 1_000_000),
        b'{"items":[{"priority":%s}]}' % (b"1" * 1_000_000),
        b'{"items":[{"kind":"%s","name":"a"}]}' % (b"x" * 1_000_000),
        b'{"items":[{"kind":"job","name":"%s"}]}' % (b"x" * 1_000_000),
        b'{"items":[],"\\u001b[31m\\n":1}',
    ],
    ids=lambda request: request[:24].decode(),
)
def test_an_error_repeats_little_of_what_was_sent(host: Host, engine: int, request_: bytes) -> None:
    reply = host.call(engine, "create_execution", request_)
    assert reply.code == "invalid_request"
    check_text(reply.body["error"]["message"])
    assert len(json.dumps(reply.body)) < 2000


# --- sizes and depths ---------------------------------------------------------------


def array_of(size: int) -> bytes:
    return b'["' + b"a" * (size - 4) + b'"]'


@pytest.mark.parametrize("size", [4, 64 << 10, LIMIT - 1, LIMIT])
def test_a_payload_up_to_the_limit_is_kept(host: Host, engine: int, queue: str, size: int) -> None:
    made = host.call(engine, "create_execution", job(queue, array_of(size))).body["ok"]["results"]
    found = ask(host, engine, "get_execution", id=made[0]["id"])
    assert found["args"] == ["a" * (size - 4)]


@pytest.mark.parametrize("size", [LIMIT + 1, 2 * LIMIT, 60 << 20])
def test_a_payload_over_the_limit_says_so(host: Host, engine: int, queue: str, size: int) -> None:
    error = host.call(engine, "create_execution", job(queue, array_of(size))).body["error"]
    assert error["code"] == "payload_too_large"
    assert error["details"] == {"bytes": size, "limit": LIMIT, "path": "items[0].args"}


def test_nothing_at_all_is_an_empty_request(host: Host, engine: int) -> None:
    for operation in ("stats", "recover"):
        assert host.call(engine, operation, b"").code == ""
    assert host.call(engine, "create_execution", b"").code == "invalid_request"


def test_a_request_of_300_megabytes_costs_no_memory(run_python: RunPython) -> None:
    """It is refused by its length: what it holds is neither copied nor looked at."""
    result = run_python(
        """
start()
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) << 10
large = frame(1, "create_execution", b'{"items":["' + b"a" * (300 << 20) + b'"]}')
before = peak()
reply = host.call(engine, "create_execution", large)
assert reply.code == "payload_too_large", reply
assert reply.body["error"]["details"] == {"limit": 64 << 20, "size": len(large)}
assert channel.submit(large) == OK
assert channel.await_(1)[1].code == "payload_too_large"
status, _, error = host.open(large)
assert (status, error["error"]["code"]) == (ERROR, "payload_too_large"), error
assert peak() - before < 8 << 20, peak() - before
"""
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("levels", "code"), [(128, ""), (140, "payload_too_large"), (10**6, "payload_too_large")]
)
def test_a_payload_nests_as_deep_as_it_may(
    host: Host, engine: int, queue: str, levels: int, code: str
) -> None:
    deep = b"[" * levels + b"]" * levels
    assert host.call(engine, "create_execution", job(queue, deep)).code == code


# --- names --------------------------------------------------------------------------

NAMES = {
    "63 bytes": "n" * 63,
    "64 bytes": "n" * 64,
    "255 bytes": "n" * 255,
    "255 bytes of two each": "\u00fc" * 127 + "n",
    "quotes": 'it\'s "quoted" `so` $1 $$',
    "SQL": "'; DROP TABLE executions; --",
    "patterns": "%_\\%",
    "a path": "../../etc/passwd",
    "right to left": "\u202e\u05d0\u0627",
    "emoji": "\U0001f469\u200d\U0001f680",
    "composed": "\u00e9",
    "decomposed": "e\u0301",
    "what SQL reserves": "select",
    "a placeholder": "%s %n {0} ${x}",
    "spaces": "  a  b ",
}
REFUSED = {
    "nothing": "",
    "256 bytes": "n" * 256,
    "256 bytes of two each": "\u00fc" * 128,
    "10,000 bytes": "n" * 10_000,
    "NUL": "a\0b",
    "a line": "a\nb",
    "an escape": "\x1b[31m",
    "delete": "\x7f",
    "half of a pair": "\ud800",
}


@pytest.mark.parametrize("what", NAMES)
def test_a_name_is_data_wherever_it_stands(host: Host, engine: int, what: str) -> None:
    name = NAMES[what]
    own = uuid.uuid4().hex
    item = {
        "kind": "workflow",
        "name": name,
        "queue": name,
        "version": name,
        "idempotency_key": name,
    }
    signals = [{"name": name, "payload": name}]
    request = {"items": [{**item, "signals": signals, "args": [own]}]}
    [made] = ask(host, engine, "create_execution", **request)["results"]
    for filters in ({"name": name}, {"queue": name}, {"name": name, "queue": name}):
        listed = ask(host, engine, "list_executions", **filters)["executions"]
        assert [(each["id"], each["name"], each["queue"]) for each in listed] == [
            (made["id"], name, name)
        ]
    found = ask(host, engine, "get_execution", id=made["id"])
    assert (found["name"], found["queue"], found["idempotency_key"]) == (name, name, name)
    assert (found["args"], found["version"]) == ([own], name)
    again = ask(host, engine, "create_execution", **request)["results"]
    assert [(each["id"], each["created"]) for each in again] == [(made["id"], False)]
    worker = ask(host, engine, "start_worker", queues=[name], name=name, language=name)["worker_id"]
    [claimed] = ask(host, engine, "claim", worker_id=worker, n=9)["executions"]
    events = [each for each in claimed["events"] if each["type"] == "signal_received"]
    assert [(each["name"], each["payload"]) for each in events] == [(name, name)] * 2
    ask(host, engine, "stop_worker", worker_id=worker)
    ask(host, engine, "terminate_execution", items=[{"id": made["id"], "reason": name}])


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_name_is_refused_wherever_it_stands(
    host: Host, engine: int, queue: str, what: str
) -> None:
    name = REFUSED[what]
    item = {"kind": "workflow", "name": "abi", "queue": queue}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("create_execution", {"items": [{**item, "name": name}]}),
        ("create_execution", {"items": [{**item, "idempotency_key": name}]}),
        ("create_execution", {"items": [{**item, "version": name}]}),
        ("create_execution", {"items": [{**item, "signals": [{"name": name}]}]}),
        ("start_worker", {"queues": [queue, name]}),
    ]
    if name:  # an absent one is the default, or no filter
        requests.append(("create_execution", {"items": [{**item, "queue": name}]}))
        requests.append(("start_worker", {"queues": [queue], "language": name}))
    for operation, request in requests:
        reply = host.call(engine, operation, json.dumps(request).encode())
        assert reply.code == "invalid_request", (operation, request)
        check_text(reply.body["error"]["message"])
    for filters in ({"name": name}, {"queue": name}) if name else ():
        reply = host.call(engine, "list_executions", json.dumps(filters).encode())
        assert reply.code == "invalid_request" or reply.body["ok"]["executions"] == []
    assert ask(host, engine, "list_executions", queue=queue)["executions"] == []
