"""Failures: a line each in the log, whatever their messages hold, and what asyncio's mean."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ._errors import NotDurableError

log = logging.getLogger("workflows")

_MAX_TOLD = 300


def called(claimed: Mapping[str, Any]) -> str:
    """Names an execution for the log."""
    return f"{claimed['kind']} {claimed['name']} {claimed['id']}"


def tell(who: str, error: Mapping[str, Any], attempt: int | None = None) -> None:
    """Logs a failure in one line; its stack is kept with the execution."""
    kind: str = error.get("type") or "Error"
    if kind == "CancelledError":
        return  # that was asked for
    message = (error.get("message") or "").strip().partition("\n")[0][:_MAX_TOLD]
    went = "failed" if attempt is None else f"failed in attempt {attempt}"
    log.warning("%s", _printable(f"{who} {went}: {kind}{f': {message}' if message else ''}"))


def _printable(text: str) -> str:
    """Escapes what a terminal would obey, and what a log file may not be able to hold."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


# What a task says of a future that is not its loop's.
_FOREIGN = "attached to a different loop"


def explained(error: BaseException) -> BaseException:
    """Answers what a workflow failed with, or what it means if asyncio has only said it its way."""
    if type(error) is not RuntimeError or _FOREIGN not in str(error):
        return error
    meant = NotDurableError(
        "the workflow awaits a future or task of another event loop, whose result is not "
        "recorded; let an activity wait for it, or send the workflow a signal"
    )
    meant.__cause__ = error
    return meant.with_traceback(error.__traceback__)
