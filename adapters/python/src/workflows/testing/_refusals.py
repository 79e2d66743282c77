"""What the engine in memory does not store."""

from __future__ import annotations

from typing import Any

from .._payload import dump_request
from ._rows import Fault, Json

MAX_PAYLOAD = 1 << 20


def check_sizes(item: Json) -> None:
    """Refuses a payload that the library would not store.

    Raises:
        Fault: one of them is over a mebibyte.
    """
    for name in ("args", "kwargs", "result", "error", "payload", "progress"):
        _check_size(name, item.get(name))
    for name in ("commands", "events"):
        each: Json
        for each in item.get(name) or ():
            parts: Json = {**each, **(each.get("execution") or {})}
            for part in ("args", "kwargs", "state", "payload"):
                _check_size(f"{name}.{part}", parts.get(part))


def _check_size(path: str, value: Any) -> None:
    if value is None or isinstance(value, (bool, int, float)):
        return
    size = len(dump_request(value))
    if size > MAX_PAYLOAD:
        raise Fault(
            "payload_too_large",
            f"{path} has {size} bytes; at most {MAX_PAYLOAD} are stored: keep large values"
            " elsewhere and pass a reference",
            path=path,
            bytes=size,
            limit=MAX_PAYLOAD,
        )
