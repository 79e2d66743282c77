"""What stands in for bodies and workflows."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, cast

from .._attempts import Attempt, Bodies
from .._functions import AsyncFunction, Function
from .._options import Options
from .._registry import Registry
from .._workflow import sleep, workflow_info
from ._bodies import Body
from ._calls import CallLog

# Nothing was said about the outcome: the body itself runs.
ITS_OWN: Any = object()


class Double:
    """What stands in for the body of one function.

    Args:
        name: of the function.
        kind: its kind; None for any.
        by: a function to run instead.
        outcomes: what each attempt comes to, one after another; the last one stays. Exceptions
            are raised, everything else is answered.
        takes: how many seconds an attempt takes.
    """

    def __init__(
        self,
        name: str,
        kind: str | None,
        by: Callable[..., Any] | None,
        outcomes: Sequence[Any],
        takes: float,
    ) -> None:
        self.name = name
        self.kind = kind
        self.takes = takes
        self._by = by.plain if isinstance(by, Function) else by
        self._outcomes = list(outcomes)
        self._next = 0
        self._given: dict[str, Any] = {}

    def stands_for(self, kind: str, name: str) -> bool:
        """Whether it stands in for this function."""
        return name == self.name and self.kind in (None, kind)

    async def attempt(
        self, plain: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Makes an attempt, as an async body; `plain` is the body that it stands in for."""
        if self.takes:
            await asyncio.sleep(self.takes)
        outcome = self._take()
        if outcome is not ITS_OWN:
            return _come_to(outcome)
        body = cast("Callable[..., Any]", self._by or plain)
        if self._by is None and not inspect.iscoroutinefunction(body):
            return await asyncio.to_thread(body, *args, **kwargs)
        value = body(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    async def run(self, plain: Callable[..., Any] | None, *args: Any, **kwargs: Any) -> Any:
        """Runs as a workflow: each execution has its outcome, however often it is replayed."""
        id = workflow_info().id
        if id not in self._given:
            self._given[id] = self._take()
        if self.takes:
            await sleep(self.takes)
        if self._given[id] is ITS_OWN:
            value = cast("Callable[..., Any]", self._by or plain)(*args, **kwargs)
            return await value if inspect.isawaitable(value) else value
        return _come_to(self._given[id])

    def _take(self) -> Any:
        outcome = self._outcomes[min(self._next, len(self._outcomes) - 1)]
        self._next += 1
        return outcome


def _come_to(outcome: Any) -> Any:
    if isinstance(outcome, BaseException):
        raise outcome.with_traceback(None)
    if isinstance(outcome, type) and issubclass(outcome, BaseException):
        raise outcome
    return cast(Any, outcome)


class Doubles:
    """All that stands in, the latest first."""

    def __init__(self) -> None:
        self._doubles: list[Double] = []

    def add(self, double: Double) -> None:
        """Puts one in front of those that there are."""
        self._doubles.insert(0, double)

    def remove(self, double: Double) -> None:
        """Takes one away."""
        if double in self._doubles:
            self._doubles.remove(double)

    def find(self, kind: str, name: str) -> Double | None:
        """Answers what stands in for a function, or None."""
        for double in self._doubles:
            if double.stands_for(kind, name):
                return double
        return None


class Functions(Registry):
    """The functions of a registry; some stand in for code that is not here."""

    def __init__(self, base: Registry, doubles: Doubles) -> None:
        super().__init__()
        self._base = base
        self._doubles = doubles

    def find(self, kind: str, name: str) -> Function[..., Any] | None:
        """Answers the function that an execution runs, or None."""
        found = self._base.find(kind, name)
        double = self._doubles.find(kind, name)
        if double is None or (found is not None and kind != "workflow"):
            return found  # bodies are replaced where they run
        if kind != "workflow":
            return AsyncFunction(cast(Any, kind), _nothing, Options(name=name))

        plain = None if found is None else found.plain

        async def stand_in(*args: Any, **kwargs: Any) -> Any:
            return await double.run(plain, *args, **kwargs)

        if found is None:
            return AsyncFunction("workflow", stand_in, Options(name=name))
        return _with(found, stand_in)

    def is_double(self, name: str) -> bool:
        """Whether something stands in for a workflow's code."""
        return self._doubles.find("workflow", name) is not None

    def names(self) -> dict[str, list[str]]:
        """Answers the names of the functions that there are, by kind."""
        return self._base.names()


async def _nothing(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("this body is always replaced")


def _with(function: Function[..., Any], plain: Callable[..., Any]) -> Function[..., Any]:
    """Answers the same function with another body."""
    other = copy.copy(function)
    other.plain = plain
    other.is_async = True
    return other


class RecordedBodies(Bodies):
    """Runs bodies, or what stands in for them, and notes what was called."""

    def __init__(
        self,
        pool: Executor,
        freed: Callable[[], None],
        doubles: Doubles,
        calls: CallLog,
        key_of: Callable[[Attempt], object],
    ) -> None:
        super().__init__(pool, freed)
        self.running: set[Body] = set()
        self._doubles = doubles
        self._calls = calls
        self._key_of = key_of

    async def run(
        self,
        function: Function[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        attempt: Attempt,
        timeout: float | None,  # noqa: ASYNC109
    ) -> tuple[bool, Any]:
        """Runs a body once, and answers (True, result) or (False, exception)."""
        id: str = attempt.claimed["id"]
        call = self._calls.began(self._key_of(attempt), id, function, args, kwargs)
        double = self._doubles.find(function.kind, function.name)
        body = Body()
        if double is not None:
            plain = double.attempt
            instead = _with(function, lambda *a, **k: body.of(plain(function.plain, a, k)))
        elif function.is_async:
            instead = _with(function, lambda *a, **k: body.of(function.plain(*a, **k)))
        else:
            instead = function
        self.running.add(body)
        try:
            ok, value = await super().run(instead, args, kwargs, attempt, timeout)
        finally:
            self.running.discard(body)
        if not body.is_killed:
            self._calls.ended(call, ok, value)
        return ok, value

    def spread(self) -> float:
        """Answers the middle: the delays of an environment have no jitter."""
        return 0.0

    def kill(self) -> None:
        """Ends all bodies as a power cut would: none of their code runs any more."""
        for body in list(self.running):
            body.kill()
