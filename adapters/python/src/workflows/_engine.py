"""The library, connected to a database, and shared by all who use that one."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

from . import _library, _loop, _payload
from ._channel import BUSY_PAUSE, Channel, frame
from ._embedded import postgres_binaries
from ._errors import Closed, NotDurableError
from ._library import Library
from ._operations import Operation
from ._settings import Settings
from ._wire_errors import fault_to_exception

_SLICE_MS = 100
_EXIT_GRACE = 0.5


class Engine:
    """The library, connected to one database.

    Engines are shared by configuration: `Engine.shared` gives the same one again
    until it was closed as often as it was given. What is still open when the process
    ends is closed then.

    Example:
        >>> engine = Engine.shared("embedded:")  # connects at the first call
        >>> engine.close()
    """

    _shared: ClassVar[dict[tuple[int, str], Engine]] = {}
    _lock: ClassVar[threading.RLock] = threading.RLock()

    @classmethod
    def shared(cls, url: str | None = None, **config: Any) -> Engine:
        """Answer the engine for a configuration.

        It connects at the first call, not here. Every call of `shared` needs its own
        `close`, unless the engine is to stay open until the process ends.

        Args:
            url: of the database; `embedded:` or `embedded:PATH` for a private one.
                Default `WORKFLOWS_DATABASE_URL`, then `embedded:`.
            config: what else the library's Config has, such as `schema`, `listen_url`
                and `pool_size`.

        Raises:
            InvalidConfig: a `WORKFLOWS_*` variable makes no sense.
        """
        settings = Settings.from_environment()
        complete = {
            "database_url": url or settings.database_url,
            "listen_url": settings.listen_url,
            "schema": settings.schema,
            **config,
        }
        complete = {name: value for name, value in complete.items() if value is not None}
        key = os.getpid(), json.dumps(complete, sort_keys=True)
        with cls._lock:
            engine = cls._shared.get(key)
            if engine is None:
                engine = cls._shared[key] = cls(complete)
            engine._users += 1
            return engine

    def __init__(self, config: Mapping[str, Any], *, library: Library | None = None) -> None:
        self.config = dict(config)
        self._users = 0
        self._library = library
        self._handle = 0
        self._closed = False
        self._opening = threading.Lock()
        self._channels: dict[asyncio.AbstractEventLoop, Channel] = {}
        self._idle: deque[int] = deque()
        self._tokens = itertools.count(1)

    @property
    def is_open(self) -> bool:
        """Say whether the engine is connected already."""
        return self._handle != 0 and not self._closed

    def open(self) -> tuple[Library, int]:
        """Connect, if that was not done, and answer the library and the engine's handle.

        Blocks: an embedded database takes a second to start. A failure is not
        remembered; the next call tries again.

        Raises:
            WorkflowsError: whatever keeps it from connecting.
        """
        library = self._library or Library.get()
        library.check_fork()
        if self._closed:
            raise Closed("the engine was closed; ask Engine.shared for a new one")
        if self._handle:
            return library, self._handle
        with self._opening:
            if not self._handle and not self._closed:
                self._handle = library.open(_payload.dump_request(self._full_config()))
                self._library = library
                _open_engines.add(self)
        if self._closed:
            raise Closed("the engine was closed while it opened")
        return library, self._handle

    def _full_config(self) -> dict[str, Any]:
        config = dict(self.config)
        if str(config.get("database_url", "embedded:")).startswith("embedded:"):
            config.setdefault("postgres_binaries", postgres_binaries())
        return config

    def channel(self) -> Channel:
        """Answer the channel of the running asyncio loop.

        It is made at first use and closed with the loop.

        Raises:
            RuntimeError: no asyncio loop is running in this thread.
            NotDurableError: the loop is a workflow's.
        """
        loop = asyncio.get_running_loop()
        channel = self._channels.get(loop)
        if channel is None or channel.is_closed:
            refuse_inside_workflows()
            self._sweep()
            channel = self._channels[loop] = Channel(self, loop)
        return channel

    def _sweep(self) -> None:
        """Close the channels of loops that were closed without a word."""
        for loop, channel in list(self._channels.items()):
            if loop.is_closed():
                channel.close()

    def forget(self, channel: Channel) -> None:
        """Drop a channel that has closed."""
        if self._channels.get(channel.loop) is channel:
            del self._channels[channel.loop]

    def call(self, operation: Operation, request: Mapping[str, Any]) -> Any:
        """Perform an operation, blocking this thread until its reply is there.

        Ctrl-C works: it cancels the operation. On the thread of an event loop it holds
        up that loop; use `channel().call` there.

        Args:
            operation: which one.
            request: its request; the payloads in it must be plain JSON.

        Raises:
            WorkflowsError: the operation failed.
            PayloadError: the request is not plain JSON.
            NotDurableError: it was called inside a workflow.

        Example:
            >>> engine.call(Operation.STATS, {})["schema"]
            'workflows'
        """
        refuse_inside_workflows()
        token = next(self._tokens)
        packed = frame(token, operation, _payload.dump_request(request))
        library, handle = self.open()
        try:
            channel = self._idle.pop()
        except IndexError:
            channel = library.channel_open(handle)
        try:
            reply = _exchange(library, channel, packed)
        except BaseException:
            library.channel_close(channel)  # what is in flight on it is cancelled
            raise
        self._idle.append(channel)
        return _answer(reply)

    def close(self, grace: float = 1.0) -> None:
        """Give the engine back; the last one to do so closes it.

        Calls in flight have the grace to complete, and raise Closed after that. Blocks
        that long at most. Closing a closed engine changes nothing.

        Args:
            grace: in seconds.
        """
        with Engine._lock:
            self._users -= 1
            if self._users > 0 or self._closed:
                return
            self._forget_shared()
        self._close(grace)

    def _forget_shared(self) -> None:
        for key, engine in list(Engine._shared.items()):
            if engine is self:
                del Engine._shared[key]

    def _close(self, grace: float) -> None:
        with self._opening:
            self._closed = True
            _open_engines.discard(self)
            if not self._handle or self._library is None:
                return
            if getattr(self._library, "pid", os.getpid()) == os.getpid():
                self._library.close(self._handle, round(grace * 1000))
        # The channels learn of it by the end of their pipes, on their own threads.


def refuse_inside_workflows() -> None:
    """Refuses a client's call in workflow code.

    Raises:
        NotDurableError: this is workflow code.
    """
    if _loop.running() is not None:
        raise NotDurableError(
            "a client was called inside a workflow, where nothing would record its answer: call it"
            " in an activity or a step; to start or signal executions use what `workflows` offers"
        )


_open_engines: set[Engine] = set()


@atexit.register
def _close_all() -> None:  # pyright: ignore[reportUnusedFunction]
    for engine in list(_open_engines):
        engine._close(_EXIT_GRACE)  # pyright: ignore[reportPrivateUsage]


def _exchange(library: Library, channel: int, packed: bytes) -> Mapping[str, Any]:
    """Hand in one request on a channel that has no other, and wait for its reply."""
    while (code := library.submit(channel, packed)) == _library.BUSY:
        time.sleep(BUSY_PAUSE)
    if code != _library.OK:
        raise library.failure(code)
    while (code := library.wait(channel, _SLICE_MS)) == _library.TIMEOUT:
        pass  # between the slices Python handles signals
    if code != _library.OK:
        raise library.failure(code)
    remaining, data = library.drain(channel, 1)
    if not data:
        raise library.failure(remaining if remaining < 0 else _library.INTERNAL)
    return _payload.load_reply(data.decode())[0]["reply"]


def _answer(reply: Mapping[str, Any]) -> Any:
    if "ok" in reply:
        return reply["ok"]
    raise fault_to_exception(reply["error"])
