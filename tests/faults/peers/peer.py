"""What contestants share: a body that keeps a journal, and a client that keeps another."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

URL = os.environ["PEER_URL"]
# A process, and what stays the same of it when it is started again.
WORKER = os.environ.get("PEER_WORKER", "client")
SLOT = os.environ.get("PEER_SLOT", "client")
SECONDS = float(os.environ.get("PEER_SECONDS", "30"))
LEASE = 2.0
_CLIENTS = 8
_BODY = 0.1

_file = os.open(
    os.path.join(os.environ["PEER_RUN"], f"{WORKER}.jsonl"),
    os.O_WRONLY | os.O_CREAT | os.O_APPEND,
)


def note(what: str, uid: str) -> None:
    line = {"what": what, "uid": uid, "at": time.monotonic(), "by": WORKER}
    os.write(_file, json.dumps(line).encode() + b"\n")


async def body(uid: str) -> None:
    note("begin", uid)
    await asyncio.sleep(_BODY)
    note("end", uid)


async def enqueue(start: Callable[[str], Awaitable[Any]]) -> None:
    """Have some clients enqueue for as long as is asked, and write down what was accepted."""
    until = time.monotonic() + SECONDS

    async def one(n: int) -> None:
        count = 0
        while time.monotonic() < until:
            count += 1
            await start(f"{n}.{count}")
            note("accepted", f"{n}.{count}")
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one(n) for n in range(_CLIENTS)))
    # What rescues stalled jobs goes on until the driver ends it.
    await asyncio.Event().wait()


def run(
    prepare: Callable[[], Awaitable[None]],
    worker: Callable[[], Awaitable[None]],
    client: Callable[[], Awaitable[None]],
) -> None:
    role = {"prepare": prepare, "worker": worker, "client": client}[sys.argv[1]]

    async def main() -> None:
        await role()

    asyncio.run(main())
