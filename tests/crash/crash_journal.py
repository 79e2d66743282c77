"""What bodies leave outside the database: a journal of what they did, gates, and deaths.

Workers and tests share one directory, which `CRASH_STAGE` names in a worker.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

_JOURNAL = "journal"


@functools.cache
def _here() -> Path:
    return Path(os.environ["CRASH_STAGE"])


@functools.cache
def _file() -> int:
    return os.open(_here() / _JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(event: str, what: str, **more: Any) -> None:
    """Write down an event, in one write to a file that is only appended to.

    The clock is the machine's monotonic one, which all processes share.
    """
    entry = {"event": event, "what": what, "at": time.monotonic(), "worker": worker(), **more}
    os.write(_file(), json.dumps(entry).encode() + b"\n")


def worker() -> str:
    """Answer the name that the test gave this worker."""
    return os.environ["CRASH_WORKER"]


class Reader:
    """Reads a journal from the outside, each line once."""

    def __init__(self, stage: Path):
        self._path = stage / _JOURNAL
        self._read = 0
        self._entries: list[dict[str, Any]] = []

    def entries(self) -> list[dict[str, Any]]:
        """Answer what was noted, in the order in which it was written."""
        if self._path.exists():
            with self._path.open("rb") as journal:
                journal.seek(self._read)
                whole, end, _ = journal.read().rpartition(b"\n")  # the last may be on its way
            self._read += len(whole + end)
            self._entries += [json.loads(line) for line in whole.splitlines()]
        return self._entries


def open_gate(stage: Path, name: str) -> None:
    """Let through who waits at a gate, and who comes later."""
    (stage / f"gate {name}").touch()


def is_open(name: str) -> bool:
    """Say whether a gate is open."""
    return (_here() / f"gate {name}").exists()


async def gate(name: str) -> None:
    """Wait until the test opens a gate."""
    while not is_open(name):  # noqa: ASYNC110  # another process opens it
        await asyncio.sleep(0.005)


def blocking_gate(name: str) -> None:
    """Wait the same way, holding up the thread."""
    while not is_open(name):
        time.sleep(0.005)


def die_once(where: str) -> None:
    """End this process as `kill -9` does, the first time that any process comes here."""
    try:
        os.close(os.open(_here() / f"died {where}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
