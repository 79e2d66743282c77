"""Signals: buffered from the start, and matched to waits in order."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from ._calls import Call, new_call
from ._errors import SignalTimeout
from ._payload import adapt

if TYPE_CHECKING:
    from ._replay import Replay


class Signals:
    """The signals of one workflow that nobody has taken yet, and its open waits."""

    __slots__ = ("_buffered", "_replay", "_waiting")

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._buffered: dict[str, deque[tuple[int, Any]]] = {}
        # By name, in the order of the calls; a wait in the middle may be given up.
        self._waiting: dict[str, OrderedDict[Call[Any], None]] = {}

    @property
    def awaited(self) -> bool:
        """Whether a wait is open."""
        return any(self._waiting.values())

    @property
    def names(self) -> tuple[str, ...]:
        """For which signals waits are open."""
        return tuple(name for name, waiting in self._waiting.items() if waiting)

    @property
    def untaken(self) -> list[int]:
        """The positions of the signals that no wait has taken: what the next run begins with."""
        return sorted(position for kept in self._buffered.values() for position, _ in kept)

    def received(self, name: str, payload: Any, position: int) -> None:
        """Takes a signal to the first wait for its name, or keeps it."""
        waiting = self._waiting.get(name)
        if waiting:
            self._deliver(waiting.popitem(last=False)[0], payload)
        else:
            self.keep(name, payload, position)

    def keep(self, name: str, payload: Any, position: int) -> None:
        """Keeps a signal that nobody takes now."""
        self._buffered.setdefault(name, deque()).append((position, payload))

    def wait(self, name: str, kind: Any, delay_ms: int | None) -> Call[Any]:
        """Answers the wait for the next signal of a name; those that came early wait for it."""
        call = new_call(self._replay, 0, "signal", name)
        call.result_type = kind
        buffered = self._buffered.get(name)
        if buffered:
            self._deliver(call, buffered.popleft()[1])
            return call
        self._waiting.setdefault(name, OrderedDict())[call] = None
        if delay_ms is not None:
            label = f"signal {name}".encode("utf-8", "replace")[:255].decode("utf-8", "ignore")
            call.sequence = self._replay.timer(delay_ms, label, lambda: self._late(call, delay_ms))
        return call

    def abandoned(self, call: Call[Any]) -> None:
        """The code cancelled a wait: it takes no signal, and its timer is not needed."""
        waiting = self._waiting.get(call.name)
        if waiting is not None:
            waiting.pop(call, None)
        self._replay.cancel_timer(call.sequence)

    def drop(self) -> None:
        """Ends all waits of a workflow that is being discarded."""
        for waiting in self._waiting.values():
            for call in waiting:
                call.drop()
        self._waiting.clear()
        del self._replay  # a cycle less for the collector

    def _deliver(self, call: Call[Any], payload: Any) -> None:
        try:
            call.set_result(adapt(payload, call.result_type, path="payload"))
        except Exception as error:
            call.fail(error)
        self._replay.cancel_timer(call.sequence)

    def _late(self, call: Call[Any], delay_ms: int) -> None:
        del self._waiting[call.name][call]
        message = f"no signal {call.name!r} came within {delay_ms / 1000:g} s"
        call.fail(SignalTimeout(message, call.name))
