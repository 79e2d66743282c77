"""The proxy between workers and PostgreSQL, which is a program of its own: see proxy/."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any, Self

from fault_server import ROOT

_PROGRAM = ROOT / "build" / "faults" / "proxy"


class Proxy:
    """A running proxy. Its commands are lines of JSON, each of which is answered."""

    def __init__(self, directory: Path, to: Path | str) -> None:
        self._directory = directory
        self._to = to
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        control = self._directory / "proxy.control"
        self._log = (self._directory / "proxy.log").open("wb")
        self._process = await asyncio.create_subprocess_exec(
            str(_PROGRAM),
            *("--listen", "127.0.0.1:0", "--to", f"unix:{self._to}"),
            *("--control", f"unix:{control}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            line = await self._process.stdout.readline()
        self.listen: str = json.loads(line)["listen"]
        self._reader, self._writer = await asyncio.open_unix_connection(str(control))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._log.close()

    async def do(self, what: str, **more: Any) -> dict[str, Any]:
        """Give a command, and answer its reply, which is read even if nobody waits any more."""
        command = json.dumps({"do": what, **more}).encode() + b"\n"
        return json.loads(await asyncio.shield(asyncio.create_task(self._exchange(command))))

    async def _exchange(self, command: bytes) -> bytes:
        # Not wait_for: in Python 3.11 it loses a cancellation that comes with the reply, and who
        # gives commands goes on for ever.
        async with self._lock, asyncio.timeout(10):
            self._writer.write(command)
            await self._writer.drain()
            return await self._reader.readline()


def build() -> None:
    """Compile it, once for all runs of this process."""
    subprocess.run(
        ["go", "build", "-o", str(_PROGRAM), "./tests/faults/proxy"], cwd=ROOT, check=True
    )
