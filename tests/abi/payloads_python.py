"""Python's part of test_payloads.py: a worker that echoes, and who sends the corpus to all.

payloads_python.py CORPUS
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from pathlib import Path
from typing import Any

from workflows import Client, ExecutionFailed, PayloadError, Worker, job

RECEIVERS = ("c", "python", "node")


@job(name="payloads.echo", queue="payloads-python", retries=0)
async def echo(value: Any) -> Any:
    return value


def value_of(entry: dict[str, Any]) -> Any:
    if "python" in entry:
        return eval(entry["python"], {"math": math})
    return json.loads(entry["text"])


def shown(value: Any, *, doubles: bool) -> str:
    """Write a value so that what differs is written differently.

    JavaScript has doubles only, and an order of its own for keys that are numbers.
    """
    if not doubles:
        return repr(value)
    return repr(json.loads(json.dumps(value, sort_keys=True), parse_int=float))


async def sent(entry: dict[str, Any], to: str) -> dict[str, Any]:
    told = {"name": entry["name"], "to": to}
    value = value_of(entry)
    try:
        handle = await echo.options(queue=f"payloads-{to}").queue(value)
    except PayloadError as error:
        return {**told, "refused": "sent", "path": error.path}
    told["id"] = handle.id
    try:
        result = await handle.result(600)
        node = to == "node"
        return {**told, "same": shown(result, doubles=node) == shown(value, doubles=node)}
    except ExecutionFailed as error:
        return {**told, "refused": error.type, "path": error.message.split(": ")[0]}
    except PayloadError as error:
        return {**told, "refused": "received", "path": error.path}


async def main(entries: list[dict[str, Any]]) -> None:
    mine = [entry for entry in entries if "python" in entry.get("from", RECEIVERS)]
    async with Client():
        worker = Worker(queues=["payloads-python"])
        serving = asyncio.create_task(worker.run())
        told = await asyncio.gather(*(sent(entry, to) for to in RECEIVERS for entry in mine))
        print(json.dumps(told), flush=True)
        await asyncio.to_thread(sys.stdin.read)  # until all have been served
        worker.stop()
        await serving


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
