"""One corpus of payloads, from each of C, Python and Node to each: equal, or refused by path.

C is the interface itself, without an adapter: texts go in and come out as they are. Whoever sends
a value looks whether it came back as it went; the test looks at what lies in the database, too.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from abi_host import OK, ROOT, Host

HERE = Path(__file__).parent
LANGUAGES = ("c", "python", "node")
# Random doubles, for `make fuzz` a million.
DOUBLES = int(os.environ.get("PAYLOAD_DOUBLES", "20000"))
SEED = int(os.environ.get("PAYLOAD_SEED", "1"))

Json = dict[str, Any]


def doubles(count: int) -> Iterator[str]:
    """Draw finite doubles of all exponents, in arrays that fit into a payload."""
    chance = random.Random(SEED)
    while count > 0:
        drawn = struct.unpack("<10000d", chance.randbytes(80_000))
        yield json.dumps([x for x in drawn[:count] if math.isfinite(x)], separators=(",", ":"))
        count -= 10_000


def corpus() -> list[Json]:
    entries = json.loads((HERE / "payloads.json").read_text(encoding="utf-8"))
    more = {
        "a key of 10,000 characters": json.dumps({"\u00fc" * 10_000: [1]}, separators=(",", ":")),
        "126 levels": "[" * 126 + "]" * 126,
        "a long text": json.dumps("\0\u20ac" * 70_000),
        **{f"doubles, part {n}": text for n, text in enumerate(doubles(DOUBLES))},
    }
    entries += [{"name": name, "text": text} for name, text in more.items()]
    assert len({entry["name"] for entry in entries}) == len(entries)
    return entries


ENTRIES = {entry["name"]: entry for entry in corpus()}


# --- C ----------------------------------------------------------------------------


def member(reply: bytes, key: str) -> bytes:
    """Cut a member out of the first object of a reply that has an id, byte for byte."""
    text = reply.decode()
    found = re.search(r'\{(?="(worker_)?id":)', text)
    assert found, text[:300]
    at = found.end()
    while text[at - 1] != "}":
        name, at = json.JSONDecoder().raw_decode(text, at)
        end = json.JSONDecoder().raw_decode(text, at + 1)[1]
        value, at = text[at + 1 : end], end + 1
        if name == key:
            return value.encode()
    raise AssertionError(f"{key} is not in {text[:300]}")


class C:
    """What a program in C does."""

    def __init__(self, host: Host, engine: int) -> None:
        self.host, self.engine = host, engine
        self.stopped = threading.Event()

    def call(self, operation: str, request: bytes) -> bytes:
        return self.host.raw(self.engine, operation, request)

    def serve(self) -> None:
        """Be a worker that answers its argument."""
        started = self.call("start_worker", b'{"queues":["payloads-c"],"language":"c"}')
        worker = member(started, "worker_id")
        while not self.stopped.is_set():
            claimed = self.call("claim", b'{"worker_id":%s,"n":1,"wait_ms":100}' % worker)
            if b'"executions":[]' in claimed:
                continue
            item = b'"id":%s,"lease":%s' % (member(claimed, "id"), member(claimed, "lease"))
            argument = member(claimed, "args")[1:-1]
            done = b'{"items":[{%s,"result":%s}]}' % (item, argument)
            assert b'"completed"' in self.call("complete_execution", done)
        self.call("stop_worker", b'{"worker_id":%s}' % worker)

    def sent(self, entry: Json, to: str) -> Json:
        told = {"name": entry["name"], "to": to}
        text = text_of(entry)
        item = b'"kind":"job","name":"payloads.echo","queue":"payloads-%s"' % to.encode()
        item += b',"retry":{"retries":0},"args":[%s]' % text
        reply = self.call("create_execution", b'{"items":[{%s}]}' % item)
        if reply.startswith(b'{"error"'):
            return {**told, "refused": "sent", "code": json.loads(reply)["error"]["code"]}
        told["id"] = json.loads(member(reply, "id"))
        ended = self.call("wait_execution", b'{"id":%s,"wait_ms":600000}' % member(reply, "id"))
        if b'"status":"completed"' not in ended:
            error = json.loads(member(ended, "error"))
            return {**told, "refused": error["type"], "path": error["message"].split(": ")[0]}
        return {**told, "same": member(ended, "result") == text}


def text_of(entry: Json) -> bytes:
    return bytes.fromhex(entry["hex"]) if "hex" in entry else entry["text"].encode()


# --- all three --------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(
    host: Host, config: bytes, _keeper: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str, str], Json]]:
    """Let each send the corpus to each, and answer what they tell by entry, sender, receiver."""
    path = tmp_path_factory.mktemp("payloads") / "corpus.json"
    path.write_text(json.dumps(list(ENTRIES.values())), encoding="utf-8")
    schema = f"payloads_{uuid.uuid4().hex}"
    settings = {**json.loads(config), "schema": schema}
    status, engine, error = host.open(json.dumps(settings).encode())
    assert status == OK, error
    commands = {
        "python": [sys.executable, str(HERE / "payloads_python.py"), str(path)],
        "node": ["node", "--import", "tsx", str(HERE / "payloads_node.ts"), str(path)],
    }
    environment = {
        **os.environ,
        "WORKFLOWS_DATABASE_URL": settings["database_url"],
        "WORKFLOWS_SCHEMA": schema,
    }
    peers = {
        name: subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name, command in commands.items()
    }
    try:
        yield {
            (each["name"], sender, each["to"]): each
            for sender, reports in everything(C(host, engine), peers).items()
            for each in reports
        }
    finally:
        for peer in peers.values():
            peer.kill()
            peer.communicate()
        assert host.c.wf_close(engine, 1000) == OK


def everything(c: C, peers: dict[str, subprocess.Popen[str]]) -> dict[str, list[Json]]:
    mine = [entry for entry in ENTRIES.values() if "c" in entry.get("from", LANGUAGES)]
    with ThreadPoolExecutor(16) as threads:
        serving = threads.submit(c.serve)
        mine_sent = [threads.submit(c.sent, entry, to) for to in LANGUAGES for entry in mine]
        reports = {"c": [each.result() for each in mine_sent]}
        for name, peer in peers.items():
            assert peer.stdout
            reports[name] = json.loads(peer.stdout.readline())
        for peer in peers.values():  # now nobody waits for another any more
            peer.communicate(timeout=600)
            assert peer.returncode == 0
        c.stopped.set()
        serving.result()
    for each in (each for of_one in reports.values() for each in of_one if each.get("id")):
        each["stored"] = c.call("get_execution", b'{"id":"%s"}' % each["id"].encode())
    return reports


# --- verdicts ---------------------------------------------------------------------


def canonical(text: bytes, *, node: bool = False) -> Any:
    """Tell values apart that differ, members by their order, too.

    Python and C tell an integer from a double; where Node was, numbers are doubles.
    """

    def pairs(members: list[tuple[str, Any]]) -> Any:
        return sorted(members) if node else members  # keys that are numbers go first there

    def number(text: str) -> Any:
        return float(text).hex() if node else float(text) if "." in text else text

    return json.loads(
        text,
        object_pairs_hook=pairs,
        parse_int=number if node else int,
        parse_float=number if node else lambda text: float(text).hex(),
    )


def unsigned(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("-0x0.0p+0", "0x0.0p+0"))


def expected_refusal(entry: Json, sender: str, receiver: str) -> str | None:
    """Answer the path below the value, if it cannot cross."""
    if "invalid" in entry:
        return entry["invalid"]
    refused = entry.get("refused", {})
    return refused.get(sender, refused.get(receiver))


def check_refusal(entry: Json, sender: str, found: Json, path: str) -> None:
    by_sender = "invalid" in entry or sender in entry.get("refused", {})
    if not by_sender:
        assert found["refused"] == "PayloadError"
        assert found["path"] == f"args[0]{path}"
    elif sender == "c":
        assert (found["refused"], found["code"]) == ("sent", "invalid_request")
    else:
        assert (found["refused"], found["path"]) == ("sent", f"args[0]{path}")
    assert bool(found.get("id")) != by_sender, "what is refused where it is sent leaves no row"


def check_arrival(entry: Json, sender: str, receiver: str, found: Json) -> None:
    pair = {sender, receiver}
    node = "node" in pair
    sent = canonical(text_of(entry), node=node)
    args = canonical(member(found["stored"], "args")[1:-1], node=node)
    result = canonical(member(found["stored"], "result"), node=node)
    if pair & set(entry.get("unsigned_in", ())):  # -0 goes as 0 from there
        sent, args, result = unsigned(sent), unsigned(args), unsigned(result)
    elif receiver in entry.get("last_in", ()):
        assert args == sent
        sent = args = [list(each) for each in dict(sent).items()]
        sent, args, result = sorted(sent), sorted(args), sorted(map(list, result))
    elif sender != "c" or receiver == "c":
        assert found["same"]
    assert args == sent
    assert result == sent


def failures(told: dict[tuple[str, str, str], Json], sender: str, receiver: str) -> Iterator[str]:
    for name, entry in ENTRIES.items():
        if sender not in entry.get("from", LANGUAGES):
            continue
        found = told[name, sender, receiver]
        path = expected_refusal(entry, sender, receiver)
        try:
            if path is None:
                check_arrival(entry, sender, receiver, found)
            else:
                check_refusal(entry, sender, found, path)
        except (AssertionError, KeyError) as error:
            shown = {key: value for key, value in found.items() if key != "stored"}
            yield f"{name}: {sender} to {receiver}: {shown}: {str(error)[:500]}"


# One test: the processes of a parallel run would each send everything anew.
def test_a_payload_arrives_as_it_was_sent_or_is_refused_by_its_path(
    told: dict[tuple[str, str, str], Json],
) -> None:
    """O12: also as it lies in the database, as argument and as result, in all nine pairs."""
    assert {(sender, receiver) for _, sender, receiver in told} == set(product(LANGUAGES, repeat=2))
    assert len(told) > 9 * 35
    found = [each for pair in product(LANGUAGES, repeat=2) for each in failures(told, *pair)]
    assert not found, "\n".join(found)
    drawn = sum(len(json.loads(text)) for text in doubles(DOUBLES))
    print(f"{len(told)} payloads by pair, with {drawn} random doubles")  # for docs/reliability.md
