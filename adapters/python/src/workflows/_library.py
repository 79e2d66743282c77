"""The shared library, loaded at first use, and its functions.

Nothing here is loaded by importing the package: Go does not survive fork(), and a
server that forks its workers often imports the application first.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import traceback
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, ClassVar

from . import _operations
from ._errors import (
    Busy,
    Closed,
    Forked,
    Internal,
    InvalidHandle,
    InvalidRequest,
    LibraryMismatch,
    LibraryNotFound,
    Timeout,
    WorkflowsError,
)
from ._wire_errors import fault_to_exception

OK = 0
ERROR = -1
BUSY = -2
CLOSED = -3
INVALID_HANDLE = -4
INVALID_ARGUMENT = -5
FORKED = -6
TIMEOUT = -7
INTERNAL = -8

_FILE = "libworkflows.so"
_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parents[3]  # adapters/python/src/workflows

_FAILURES: dict[int, tuple[type[WorkflowsError], str]] = {
    BUSY: (Busy, "too much is waiting in the library; try again later"),
    CLOSED: (Closed, "the engine or channel was closed"),
    INVALID_HANDLE: (InvalidHandle, "no engine or channel has this handle"),
    INVALID_ARGUMENT: (InvalidRequest, "the library refused an argument"),
    TIMEOUT: (Timeout, "the library took longer than it was given"),
}


class Library:
    """The shared library. There is one in a process: `Library.get()`.

    Methods that answer a code leave it to the caller what a code means; `failure`
    makes an exception of one.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _loaded: ClassVar[Library | None] = None

    @classmethod
    def get(cls) -> Library:
        """Answer the library, loading it at first use.

        It is looked for in WORKFLOWS_LIBRARY, in this package, and in the build
        directory of the repository when the package runs from there.

        Raises:
            LibraryNotFound: there is none, or it cannot be loaded.
            LibraryMismatch: it is of another version than this package.
            Forked: the process forked after it had been loaded.
        """
        library = cls._loaded
        if library is None:
            with cls._lock:
                library = cls._loaded = cls._loaded or cls(find_library())
        library.check_fork()
        return library

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pid = os.getpid()
        self.loaded_at = _call_site()
        try:
            blocking, quick = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))
        except OSError as error:
            raise LibraryNotFound(f"{path} cannot be loaded: {error}. {_HOW_TO_GET_IT}") from error
        self._check_version(quick)
        self._declare(blocking, quick)

    def _check_version(self, quick: Any) -> None:
        try:
            quick.wf_abi_version.restype = c_uint32
            quick.wf_build_info.restype = c_char_p
            abi: int = quick.wf_abi_version()
            info: dict[str, Any] = json.loads(quick.wf_build_info())
        except AttributeError as error:
            message = f"{self.path} is not the library of libworkflows: {error}"
            raise LibraryMismatch(message) from error
        if abi != _operations.ABI_VERSION:
            raise LibraryMismatch(
                f"{self.path} (version {info.get('version')}) has version {abi} of the C"
                f" interface, and this package needs {_operations.ABI_VERSION}. {_HOW_TO_MATCH_IT}"
            )
        if info.get("operations") != _operations.DIGEST:
            raise LibraryMismatch(
                f"{self.path} (version {info.get('version')}) has the operations"
                f" {info.get('operations')}, and this package was generated from"
                f" {_operations.DIGEST}. {_HOW_TO_MATCH_IT}"
            )
        self.build_info = info

    def _declare(self, blocking: Any, quick: Any) -> None:
        def function(library: Any, name: str, *arguments: Any) -> Any:
            found = getattr(library, name)
            found.argtypes, found.restype = arguments, c_int
            return found

        # quick ones never block, so giving up the GIL would cost more than it brings
        self._submit = function(quick, "wf_submit", c_uint64, c_char_p, c_size_t)
        self._drain = function(
            quick, "wf_drain", c_uint64, c_uint32, POINTER(c_void_p), POINTER(c_size_t)
        )
        self._cancel = function(quick, "wf_cancel", c_uint64, c_uint64)
        self._free = function(quick, "wf_free", c_void_p)
        self._free.restype = None
        self._open = function(
            blocking, "wf_open", c_char_p, c_size_t, POINTER(c_uint64), POINTER(c_void_p)
        )
        self._close = function(blocking, "wf_close", c_uint64, c_int)
        self._channel_open = function(blocking, "wf_channel_open", c_uint64, POINTER(c_uint64))
        self._channel_close = function(blocking, "wf_channel_close", c_uint64)
        self._channel_fd = function(blocking, "wf_channel_fd", c_uint64)
        self._wait = function(blocking, "wf_wait", c_uint64, c_int)
        self._main = function(blocking, "wf_main", c_int, POINTER(c_char_p))

    def check_fork(self) -> None:
        """Raise Forked in a child of the process that loaded the library."""
        if os.getpid() != self.pid:
            raise self._forked()

    def _forked(self) -> Forked:
        return Forked(
            f"this process ({os.getpid()}) was forked from {self.pid}, which had already loaded"
            f" libworkflows, at {self.loaded_at}. The library does not survive fork(): call it"
            " first in the child. Servers have a hook for what must run there: post_fork in"
            " gunicorn (or leave out preload_app), @postfork or lazy-apps in uWSGI,"
            " worker_process_init in Celery; for multiprocessing choose the start method"
            ' "spawn" or "forkserver"',
            details={"loaded_at": self.loaded_at, "parent": self.pid},
        )

    def failure(self, code: int) -> WorkflowsError:
        """Make an exception of a code that a function answered."""
        if code == FORKED:
            return self._forked()
        known = _FAILURES.get(code)
        if known is None:
            return Internal(f"the library failed in a way that it did not expect ({code})")
        return known[0](known[1])

    def open(self, config: bytes) -> int:
        """Open an engine and answer its handle. Blocks until it is connected."""
        engine, error = c_uint64(), c_void_p()
        code: int = self._open(config, len(config), byref(engine), byref(error))
        if error.value is not None and code != FORKED:
            text = ctypes.string_at(error.value)
            self._free(error)
            raise fault_to_exception(json.loads(text)["error"])
        if code != OK:
            raise self.failure(code)
        return engine.value

    def close(self, engine: int, grace_ms: int) -> int:
        """Close an engine. Blocks for at most about the grace."""
        return self._close(engine, grace_ms)

    def channel_open(self, engine: int) -> int:
        """Open a channel on an engine and answer its handle."""
        channel = c_uint64()
        code: int = self._channel_open(engine, byref(channel))
        if code != OK:
            raise self.failure(code)
        return channel.value

    def channel_close(self, channel: int) -> int:
        """Close a channel; what is in flight on it is cancelled."""
        return self._channel_close(channel)

    def channel_fd(self, channel: int) -> int:
        """Answer a descriptor that becomes readable with completions; the caller closes it."""
        descriptor: int = self._channel_fd(channel)
        if descriptor < 0:
            raise self.failure(descriptor)
        return descriptor

    def submit(self, channel: int, packed: bytes) -> int:
        """Hand in packed requests, all or none. Never blocks."""
        return self._submit(channel, packed, len(packed))

    def drain(self, channel: int, most: int) -> tuple[int, bytes]:
        """Answer how many completions remain, or a code below 0, and a JSON array. Never blocks."""
        out, n = c_void_p(), c_size_t()
        remaining: int = self._drain(channel, most, byref(out), byref(n))
        if out.value is None:
            return remaining, b""
        data = ctypes.string_at(out.value, n.value)
        self._free(out)
        return remaining, data

    def wait(self, channel: int, timeout_ms: int) -> int:
        """Block until a channel has completions, or the time is over."""
        return self._wait(channel, timeout_ms)

    def cancel(self, channel: int, token: int) -> int:
        """Ask a request to stop. It still completes."""
        return self._cancel(channel, token)

    def run_command_line(self, argv: list[str]) -> int:
        """Run the command line and answer the status to exit with.

        Args:
            argv: the program's name and its arguments.
        """
        texts = [os.fsencode(argument) for argument in argv]
        sys.stdout.flush()
        sys.stderr.flush()
        status: int = self._main(len(texts), (c_char_p * (len(texts) + 1))(*texts, None))
        if status < 0:
            raise self.failure(status)
        return status


def find_library() -> Path:
    """Answer where the shared library is, without loading it.

    Raises:
        LibraryNotFound: it is nowhere; the message lists the ways to get one.
    """
    named = os.environ.get("WORKFLOWS_LIBRARY")
    if named:
        path = Path(named).absolute()
        if not path.is_file():
            raise LibraryNotFound(f"WORKFLOWS_LIBRARY names {path}, which is not there")
        return path
    bundled = _PACKAGE / "_native" / _FILE
    if bundled.is_file():
        return bundled
    built = _CHECKOUT / "build" / _FILE
    if built.is_file() and (_CHECKOUT / "go.mod").is_file():
        return built
    raise LibraryNotFound(f"{_FILE} was not found. {_HOW_TO_GET_IT}")


_HOW_TO_GET_IT = (
    "Install a wheel of libworkflows, which brings it along; or build it with `make build` in a"
    " checkout of the repository; or set WORKFLOWS_LIBRARY to the path of one"
)
_HOW_TO_MATCH_IT = (
    "Install library and package of one version; in a checkout run `make build`, and look where"
    " WORKFLOWS_LIBRARY points"
)


def _call_site() -> str:
    """Say which code, outside of this package, made us load the library."""
    stack = [
        frame
        for frame in traceback.extract_stack()
        if not frame.filename.startswith((f"{_PACKAGE}{os.sep}", "<frozen"))
    ]
    if not stack:
        return "an unknown place"
    return ", called from ".join(
        f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in reversed(stack[-3:])
    )


def _after_fork() -> None:
    Library._lock = threading.Lock()  # pyright: ignore[reportPrivateUsage]  # it may be held


os.register_at_fork(after_in_child=_after_fork)
