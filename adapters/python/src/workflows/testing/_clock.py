"""Time that is skipped: a clock that stands still, and what is due on it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Answers an aware instant as microseconds since 1970."""
    return (moment - EPOCH) // _MICROSECOND


def instant(at: int) -> datetime:
    """Answers microseconds since 1970 as an instant."""
    return EPOCH + timedelta(microseconds=at)


@lru_cache(maxsize=256)
def text(at: int) -> str:
    """Answers microseconds since 1970 as the library writes an instant."""
    moment = instant(at)
    whole = moment.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


class Clock:
    """The time of an environment, in microseconds since 1970. It moves when it is told to."""

    def __init__(self, start: datetime) -> None:
        self.start = self.now = micros(start)

    @property
    def seconds(self) -> float:
        """How long the environment has been going."""
        return (self.now - self.start) / 1e6

    def advance(self, to: int) -> None:
        """Goes forward, never back."""
        self.now = max(self.now, to)

    def at(self) -> str:
        """Answers the time as the library writes it."""
        return text(self.now)


class Due:
    """Something that is to happen at an instant, unless it is dropped before."""

    __slots__ = ("act", "at", "what")

    def __init__(self, at: int, what: str, act: Callable[[], None]) -> None:
        self.at = at
        self.what = what
        self.act: Callable[[], None] | None = act

    def drop(self) -> None:
        """Takes it back."""
        self.act = None


class Agenda:
    """What is due, the earliest first.

    Of what is due at the same instant the lower rank comes first, and then what was
    entered first.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, Due]] = []
        self._numbers = itertools.count()

    def add(self, at: int, what: str, act: Callable[[], None], rank: int = 0) -> Due:
        """Enters something; `what` says it to a reader."""
        due = Due(at, what, act)
        heapq.heappush(self._heap, (at, rank, next(self._numbers), due))
        return due

    def next(self) -> Due | None:
        """Answers what is due first, or None."""
        while self._heap and self._heap[0][3].act is None:
            heapq.heappop(self._heap)
        return self._heap[0][3] if self._heap else None

    def take(self, until: int) -> Due | None:
        """Removes and answers what is due first, if it is due by then."""
        due = self.next()
        if due is None or due.at > until:
            return None
        heapq.heappop(self._heap)
        return due
