"""Waiting for several things at once, in the same order in every process and version of Python.

They work outside workflows as well. In workflows `asyncio.gather`,
`asyncio.timeout`, `asyncio.shield` and TaskGroup may be used just as well, and
`asyncio.wait` but for what `asyncio.gather` answers; `asyncio.as_completed` may
not, `asyncio.wait_for` only from Python 3.12 on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable
from typing import Any, Generic, Literal, Self, TypeVar, cast, overload

from ._loop import running
from ._settings import Duration, seconds

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")

FIRST_COMPLETED: Literal["FIRST_COMPLETED"] = "FIRST_COMPLETED"
FIRST_EXCEPTION: Literal["FIRST_EXCEPTION"] = "FIRST_EXCEPTION"
ALL_COMPLETED: Literal["ALL_COMPLETED"] = "ALL_COMPLETED"
ReturnWhen = Literal["FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"]


@overload
def gather(  # pyright: ignore[reportOverlappingOverload]
    a1: Awaitable[T1], /, *, return_exceptions: Literal[False] = False
) -> asyncio.Future[tuple[T1]]: ...
@overload
def gather(
    a1: Awaitable[T1], a2: Awaitable[T2], /, *, return_exceptions: Literal[False] = False
) -> asyncio.Future[tuple[T1, T2]]: ...
@overload
def gather(
    a1: Awaitable[T1],
    a2: Awaitable[T2],
    a3: Awaitable[T3],
    /,
    *,
    return_exceptions: Literal[False] = False,
) -> asyncio.Future[tuple[T1, T2, T3]]: ...
@overload
def gather(
    a1: Awaitable[T1],
    a2: Awaitable[T2],
    a3: Awaitable[T3],
    a4: Awaitable[T4],
    /,
    *,
    return_exceptions: Literal[False] = False,
) -> asyncio.Future[tuple[T1, T2, T3, T4]]: ...
@overload
def gather(
    a1: Awaitable[T1],
    a2: Awaitable[T2],
    a3: Awaitable[T3],
    a4: Awaitable[T4],
    a5: Awaitable[T5],
    /,
    *,
    return_exceptions: Literal[False] = False,
) -> asyncio.Future[tuple[T1, T2, T3, T4, T5]]: ...
@overload
def gather(
    *aws: Awaitable[T], return_exceptions: Literal[False] = False
) -> asyncio.Future[list[T]]: ...
@overload
def gather(
    *aws: Awaitable[T], return_exceptions: bool
) -> asyncio.Future[list[T | BaseException]]: ...
def gather(*aws: Awaitable[Any], return_exceptions: bool = False) -> asyncio.Future[Any]:
    """Waits for all and answers their results, in the order of the arguments.

    The first failure, in the order of events, is raised at once; the others go
    on and their results are dropped. Gathering nothing answers [].

    Args:
        aws: what to wait for.
        return_exceptions: answer exceptions among the results instead of raising the first.

    Example:
        >>> a, b = await workflows.gather(fetch.run(1), fetch.run(2))
    """
    loop = running()
    if loop is None:
        return asyncio.gather(*aws, return_exceptions=return_exceptions)
    futures: dict[int, asyncio.Future[Any]] = {}
    for aw in aws:
        if id(aw) not in futures:  # given twice, it is waited for once
            futures[id(aw)] = asyncio.ensure_future(aw)
    return loop.gather([futures[id(aw)] for aw in aws], return_exceptions)


async def race(**aws: Awaitable[T]) -> tuple[str, T]:
    """Waits for the first to end, cancels the others, and answers its name and result.

    If the first ends in an exception, that is raised. The losers are waited for
    until they have ended too, so nothing of them runs on afterwards. Of several
    that have ended already the first by argument order wins.

    Raises:
        ValueError: there is nothing to race.

    Example:
        >>> name, value = await workflows.race(paid=wait_for_signal("paid"), late=sleep("24h"))
        >>> if name == "late": ...
    """
    if not aws:
        raise ValueError("race() needs at least one awaitable")
    futures: dict[str, asyncio.Future[T]] = {
        name: asyncio.ensure_future(aw) for name, aw in aws.items()
    }
    try:
        winner = await _first(futures)
    finally:
        await _end([future for future in futures.values() if not future.done()])
    return winner, futures[winner].result()


async def _first(futures: dict[str, asyncio.Future[T]]) -> str:
    for name, future in futures.items():
        if future.done():
            return name
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    names = {id(future): name for name, future in reversed(list(futures.items()))}

    def note(future: asyncio.Future[T]) -> None:
        if not ended.done():
            ended.set_result(names[id(future)])

    for future in futures.values():
        future.add_done_callback(note)
    try:
        return await ended
    finally:
        for future in futures.values():
            future.remove_done_callback(note)


async def _end(losers: list[asyncio.Future[Any]]) -> None:
    for loser in losers:
        loser.cancel()
    open_ones = [loser for loser in losers if not loser.done()]
    if open_ones:
        await asyncio.gather(*open_ones, return_exceptions=True)


async def wait(
    aws: Iterable[Awaitable[T]],
    *,
    timeout: Duration | None = None,  # noqa: ASYNC109
    return_when: ReturnWhen = ALL_COMPLETED,
) -> tuple[list[asyncio.Future[T]], list[asyncio.Future[T]]]:
    """Waits as asked for; answers what is done and what is not, in the order given.

    Nothing is cancelled, and no exception raised.

    Args:
        aws: what to wait for.
        timeout: after which it answers in any case; nothing raises.
        return_when: FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED.
    """
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[T]] = [asyncio.ensure_future(aw) for aw in aws]
    ended: asyncio.Future[None] = loop.create_future()

    open_ones = [future for future in futures if not future.done()]
    left = len(open_ones)

    def note(future: asyncio.Future[T]) -> None:
        nonlocal left
        left -= 1
        if left == 0 or _is_enough(future, return_when):
            _set(ended)

    if not open_ones or any(
        future.done() and _is_enough(future, return_when) for future in futures
    ):
        _set(ended)
    for future in open_ones:
        future.add_done_callback(note)
    timer = (
        None
        if timeout is None or ended.done()
        else loop.call_later(seconds(timeout, name="timeout"), _set, ended)
    )
    try:
        await ended
    finally:
        if timer is not None:
            timer.cancel()
        for future in open_ones:
            future.remove_done_callback(note)
    return [future for future in futures if future.done()], [
        future for future in futures if not future.done()
    ]


def _is_enough(future: asyncio.Future[Any], return_when: ReturnWhen) -> bool:
    """Whether the end of this one ends the wait."""
    if return_when == FIRST_EXCEPTION:
        return not future.cancelled() and future.exception() is not None
    return return_when == FIRST_COMPLETED


def _set(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


class as_completed(Generic[T]):  # named for asyncio's  # noqa: N801
    """Iterates over futures as they end, in the order of events.

    Args:
        aws: what to wait for; they start in the order given.

    Example:
        >>> async for future in workflows.as_completed([fetch.run(n) for n in range(9)]):
        ...     print(future.result())
    """

    def __init__(self, aws: Iterable[Awaitable[T]]) -> None:
        self._done: deque[asyncio.Future[T]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        futures = {id(future): future for future in [asyncio.ensure_future(aw) for aw in aws]}
        self._left = len(futures)
        for future in futures.values():
            if future.done():
                self._done.append(future)
            else:
                future.add_done_callback(self._note)

    def _note(self, future: asyncio.Future[T]) -> None:
        self._done.append(future)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> asyncio.Future[T]:
        if self._left == 0:
            raise StopAsyncIteration
        while not self._done:
            self._waiter = cast("asyncio.Future[None]", asyncio.get_running_loop().create_future())
            await self._waiter
        self._left -= 1
        return self._done.popleft()


def timeout(duration: Duration | None) -> asyncio.Timeout:
    """Limits what runs inside it.

    In a workflow the limit is a durable timer, so it holds across restarts.

    Args:
        duration: the limit; None for none.

    Raises:
        TimeoutError: at the end of the block, when the time was up.
    """
    return asyncio.timeout(None if duration is None else seconds(duration, name="timeout"))


def shield(aw: Awaitable[T]) -> asyncio.Future[T]:
    """Protects an awaitable from the cancellation of whoever awaits it.

    A clean-up needs none: a workflow that is asked to stop hears of it once, as
    CancelledError where it waits, and what it awaits afterwards, in `except` and
    `finally`, runs as ever. This is for work that is not to notice at all.

    Example:
        >>> await workflows.shield(refund.run(order))   # goes on when the workflow is cancelled
    """
    return asyncio.shield(aw)
