"""Settings from the environment, and durations."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias, TypeVar

from ._errors import InvalidConfig, InvalidDuration

Duration: TypeAlias = float | str | timedelta
"""Seconds as a number, text such as "30s", "5m", "1h30m", "250ms", or a timedelta."""

_T = TypeVar("_T")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_LONGEST = 100 * 366 * 86400.0


def seconds(value: Duration, *, name: str = "a duration", negative: bool = False) -> float:
    """Read a duration as seconds.

    Args:
        value: a number of seconds, text such as "30s", "5m", "24h", "1d", "250ms" or
            "1h30m", or a timedelta.
        name: what to call it in an error.
        negative: accept less than nothing.

    Raises:
        InvalidDuration: it is none of these, below 0, infinite or above 100 years.

    Example:
        >>> seconds("1h30m"), seconds(2.5), seconds("250ms")
        (5400.0, 2.5, 0.25)
        >>> seconds("soon", name="timeout")
        Traceback (most recent call last):
        workflows.InvalidDuration: timeout must be seconds as a number, or text ...
    """
    found = _seconds(value)
    if found is None:
        raise InvalidDuration(
            f'{name} must be seconds as a number, or text such as "30s", "5m", "24h" or "250ms",'
            f" not {value!r}"
        )
    if not math.isfinite(found) or abs(found) > _LONGEST:
        raise InvalidDuration(f"{name} must be at most 100 years, not {value!r}")
    if found < 0 and not negative:
        raise InvalidDuration(f"{name} must not be negative, as {value!r} is")
    return found


def milliseconds(value: Duration, *, name: str = "a duration", negative: bool = False) -> int:
    """Read a duration as whole milliseconds, rounded up: what is above 0 stays above 0.

    Raises:
        InvalidDuration: as for `seconds`.

    Example:
        >>> milliseconds("5m"), milliseconds(0.0001)
        (300000, 1)
    """
    found = seconds(value, name=name, negative=negative) * 1000
    return math.ceil(round(found, 6)) or (1 if found > 0 else 0)


def _seconds(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if not isinstance(value, str):
        return None
    text = value.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    if _WHOLE.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `WORKFLOWS_*` says; None where it says nothing. Durations are seconds.

    Example:
        >>> found = Settings.from_environment({"WORKFLOWS_DEFAULT_TIMEOUT": "5m"})
        >>> found.default_timeout, found.schema
        (300.0, None)
    """

    database_url: str | None = None
    listen_url: str | None = None
    schema: str | None = None
    worker_heartbeat_interval: float | None = None
    worker_heartbeat_timeout: float | None = None
    worker_poll_interval: float | None = None
    worker_max_concurrent: int | None = None
    worker_warm: int | None = None
    default_timeout: float | None = None
    default_workflow_timeout: float | None = None
    default_retries: int | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment.

        A variable that is set to nothing counts as not set. `default_retries` and
        `worker_warm` must not be negative, `worker_max_concurrent` must be 1 or more.

        Raises:
            InvalidConfig: a variable has a value that makes no sense; the message names it.
        """
        env = os.environ if environ is None else environ
        return cls(
            database_url=_read(env, "DATABASE_URL", _text),
            listen_url=_read(env, "LISTEN_URL", _text),
            schema=_read(env, "SCHEMA", _text),
            worker_heartbeat_interval=_read(env, "WORKER_HEARTBEAT_INTERVAL", _duration),
            worker_heartbeat_timeout=_read(env, "WORKER_HEARTBEAT_TIMEOUT", _duration),
            worker_poll_interval=_read(env, "WORKER_POLL_INTERVAL", _duration),
            worker_max_concurrent=_read(env, "WORKER_MAX_CONCURRENT", _positive),
            worker_warm=_read(env, "WORKER_WARM", _count),
            default_timeout=_read(env, "DEFAULT_TIMEOUT", _duration),
            default_workflow_timeout=_read(env, "DEFAULT_WORKFLOW_TIMEOUT", _duration),
            default_retries=_read(env, "DEFAULT_RETRIES", _count),
        )


def _read(env: Mapping[str, str], name: str, read: Callable[[str, str], _T]) -> _T | None:
    name = f"WORKFLOWS_{name}"
    value = env.get(name, "").strip()
    return read(name, value) if value else None


def _text(name: str, value: str) -> str:
    return value


def _duration(name: str, value: str) -> float:
    return seconds(value, name=name)


def _count(name: str, value: str) -> int:
    if re.fullmatch(r"\d{1,9}", value, re.ASCII) is None:
        raise InvalidConfig(f"{name} must be a whole number, 0 or more, not {value!r}")
    return int(value)


def _positive(name: str, value: str) -> int:
    count = _count(name, value)
    if count < 1:
        raise InvalidConfig(f"{name} must be 1 or more, not {value!r}")
    return count
