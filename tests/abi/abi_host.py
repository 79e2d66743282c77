"""workflows.h through ctypes, without the adapter: what any host may do to the library."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import re
import select
import struct
import subprocess
import time
from collections.abc import Callable, Iterable
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

# The fixtures that run a host in a process of its own.
RunPython = Callable[..., subprocess.CompletedProcess[str]]
RunC = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include" / "workflows.h"
LIBRARY = Path(os.environ.get("WORKFLOWS_LIBRARY") or ROOT / "build" / "libworkflows.so")

_TEXT = HEADER.read_text()
DECLARED = sorted(re.findall(r"^[a-z][a-z0-9_ ]*[ *](wf_\w+)\(", _TEXT, re.MULTILINE))
OPERATIONS = {
    name.lower(): int(n) for name, n in re.findall(r"^\tWF_OP_(\w+) = (\d+)", _TEXT, re.M)
}

OK, ERROR, BUSY, CLOSED, INVALID_HANDLE, INVALID_ARGUMENT, FORKED, TIMEOUT = range(0, -8, -1)
HEAD = struct.Struct("<QIHH")
MAX_TOKEN = 1 << 53
NOBODY = "0191d5c0-0000-7000-8000-000000000000"
REFUSED = b'{"no_such_field":1}'  # fails before it reaches the database

# What each function takes, for ctypes.
_BLOCKING = (c_uint64, c_char_p, c_size_t, POINTER(c_void_p), POINTER(c_size_t))
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "wf_abi_version": (),
    "wf_build_info": (),
    "wf_free": (c_void_p,),
    "wf_main": (c_int, POINTER(c_char_p)),
    "wf_open": (c_char_p, c_size_t, POINTER(c_uint64), POINTER(c_void_p)),
    "wf_close": (c_uint64, c_int),
    "wf_channel_open": (c_uint64, POINTER(c_uint64)),
    "wf_channel_close": (c_uint64,),
    "wf_channel_fd": (c_uint64,),
    "wf_submit": (c_uint64, c_char_p, c_size_t),
    "wf_drain": (c_uint64, c_uint32, POINTER(c_void_p), POINTER(c_size_t)),
    "wf_wait": (c_uint64, c_int),
    "wf_cancel": (c_uint64, c_uint64),
}
_RESULTS = {"wf_abi_version": c_uint32, "wf_build_info": c_char_p, "wf_free": None}


class Reply(NamedTuple):
    status: int
    body: Any

    @property
    def code(self) -> str:
        """The fault's code, or "" for a good reply."""
        return "" if self.body is None or "ok" in self.body else self.body["error"]["code"]


def frame(token: int, operation: str | int, request: bytes, zero: int = 0) -> bytes:
    number = OPERATIONS[operation] if isinstance(operation, str) else operation
    return HEAD.pack(token, len(request), number, zero) + request


class Host:
    """A process that has loaded the library."""

    def __init__(self) -> None:
        self.c = ctypes.CDLL(str(LIBRARY))
        for name in DECLARED:
            function = getattr(self.c, name)
            function.argtypes = _ARGUMENTS.get(name, _BLOCKING)
            function.restype = _RESULTS.get(name, c_int)

    def text(self, out: c_void_p) -> bytes | None:
        """Take an output and free it."""
        if not out.value:
            return None
        text = ctypes.string_at(out.value)
        self.c.wf_free(out)
        return text

    def open(self, config: bytes) -> tuple[int, int, Any]:
        engine, error = c_uint64(1), c_void_p(1)
        status = self.c.wf_open(config, len(config), byref(engine), byref(error))
        text = self.text(error)
        return status, engine.value, json.loads(text) if text else None

    def call(self, engine: int, operation: str, request: bytes, n: int | None = None) -> Reply:
        out, size = c_void_p(1), c_size_t(1)
        length = len(request) if n is None else n
        function = getattr(self.c, f"wf_{operation}")
        status = function(engine, request, length, byref(out), byref(size))
        text = self.text(out)
        assert len(text or b"") == size.value
        return Reply(status, json.loads(text) if text else None)

    def raw(self, engine: int, operation: str, request: bytes) -> bytes:
        """Answer a reply as it is."""
        out, size = c_void_p(), c_size_t()
        getattr(self.c, f"wf_{operation}")(engine, request, len(request), byref(out), byref(size))
        return self.text(out) or b""

    def channel(self, engine: int) -> Channel:
        handle = c_uint64(1)
        status = self.c.wf_channel_open(engine, byref(handle))
        assert status == OK, status
        return Channel(self, handle.value)


class Channel:
    """A channel, with a wait that tests can bound."""

    def __init__(self, host: Host, handle: int) -> None:
        self.host, self.handle = host, handle
        self.tokens = itertools.count(1)

    def submit(self, *frames: bytes) -> int:
        packed = b"".join(frames)
        return self.host.c.wf_submit(self.handle, packed, len(packed))

    def drain(self, most: int = 128) -> tuple[int, list[dict[str, Any]]]:
        out, n = c_void_p(1), c_size_t(1)
        left = self.host.c.wf_drain(self.handle, most, byref(out), byref(n))
        text = self.host.text(out)
        assert len(text or b"") == n.value
        return left, json.loads(text) if text else []

    def wait(self, timeout_ms: int = 10_000) -> int:
        return self.host.c.wf_wait(self.handle, timeout_ms)

    def cancel(self, token: int) -> int:
        return self.host.c.wf_cancel(self.handle, token)

    def close(self) -> int:
        return self.host.c.wf_channel_close(self.handle)

    def fd(self) -> int:
        return self.host.c.wf_channel_fd(self.handle)

    def await_(self, n: int) -> dict[int, Reply]:
        """Drain until n completions have come; each token may come once."""
        got: dict[int, Reply] = {}
        while len(got) < n:
            assert self.wait() == OK
            for completion in self.drain()[1]:
                assert completion["token"] not in got
                got[completion["token"]] = Reply(OK, completion["reply"])
        return got

    def settle(self, n: int) -> None:
        """Wait until n completions can be drained, and drain none."""
        deadline = time.monotonic() + 10
        while self.drain(0)[0] < n:
            assert time.monotonic() < deadline
            time.sleep(0.001)


def ask(host: Host, engine: int, operation: str, **request: Any) -> Any:
    """Call an operation that has to succeed, and answer what it says."""
    reply = host.call(engine, operation, json.dumps(request).encode())
    assert reply.status == OK, reply.body
    return reply.body["ok"]


def readable(fd: int, timeout: float = 0.0) -> bool:
    return bool(select.select([fd], [], [], timeout)[0])


def refused(tokens: Iterable[int]) -> bytes:
    """Pack requests that complete at once, with an error."""
    return b"".join(frame(token, "get_execution", REFUSED) for token in tokens)
