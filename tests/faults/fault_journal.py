"""Journals outside the database: a line of JSON in one write, by a clock that all share."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


def now() -> int:
    """Answer nanoseconds on the clock of the journals, which goes on while a machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Journal:
    """A file that is only appended to. What was written survives the death of its writer."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, t: str, **fields: Any) -> None:
        os.write(self._file, json.dumps({"t": t, **fields}).encode() + b"\n")

    def close(self) -> None:
        os.close(self._file)


def entries(path: Path) -> Iterator[Entry]:
    """Answer the whole lines of a journal; the last of a killed writer may be cut off."""
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)
