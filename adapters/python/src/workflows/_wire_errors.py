"""Errors on the wire, both ways: faults of the library, and what functions raised."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, cast

from ._errors import WorkflowsError
from ._operations import FAULT_CODES

MAX_ERROR_BYTES = 64 * 1024
MAX_CAUSES = 8

_MAX_TYPE = 255
_MAX_DETAILS = 8 * 1024
_MAX_FRAMES = 64
# The modules through which a worker calls bodies.
_OURS = {
    os.path.join(os.path.dirname(__file__), f"{name}.py")
    for name in ("_attempts", "_executions", "_replay")
}


class RemoteError(WorkflowsError):
    """An error as it was sent: raised by a function elsewhere, perhaps in another language.

    Its remote stack is attached as a note, so that a traceback shows it.

    Attributes:
        type: bare name of the remote error's type, such as "ValueError".
        message: its message.
        stack: its stack, as the other language writes it; "" if unknown.
        language: where it was raised, such as "python"; None if unknown.

    Example:
        >>> error = RemoteError("KeyError", "'x'")
        >>> error.type, str(error)
        ('KeyError', "KeyError: 'x'")
    """

    code = "remote_error"

    def __init__(
        self,
        type: str,
        message: str,
        *,
        stack: str = "",
        language: str | None = None,
        non_retryable: bool = False,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, details=details)
        self.args = (type, message)
        self.type = type
        self.message = message
        self.stack = stack
        self.language = language
        self.marked_non_retryable = non_retryable
        if stack:
            self.add_note(f"Remote stack ({language or 'language unknown'}):\n{stack.rstrip()}")

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


def _subclasses(cls: type[WorkflowsError]) -> list[type[WorkflowsError]]:
    direct = cls.__subclasses__()
    return direct + [deeper for each in direct for deeper in _subclasses(each)]


FAULTS: Mapping[str, type[WorkflowsError]] = {
    cls.code: cls
    for cls in _subclasses(WorkflowsError)
    if "code" in vars(cls) and cls.code in FAULT_CODES
}


def fault_to_exception(error: Mapping[str, Any]) -> WorkflowsError:
    """Turn a fault of the library into an exception of its class.

    A code that is newer than this package becomes a plain WorkflowsError with
    that code.

    Args:
        error: {"code", "message", "retryable", "details"} of a reply.

    Example:
        >>> fault_to_exception({"code": "lease_lost", "message": "gone", "retryable": False})
        LeaseLost('gone')
    """
    code = _string(error.get("code"), "internal")
    cls = FAULTS.get(code, WorkflowsError)
    details: Mapping[str, Any] | None = error.get("details")
    return cls(
        _string(error.get("message")),
        details=details,
        retryable=bool(error.get("retryable", False)),
        code=code,
    )


def error_to_exception(error: Mapping[str, Any] | None) -> RemoteError:
    """Turn an error from the wire into an exception with its chain of causes.

    It keeps type, message, stack, language and details as they were sent. The
    remote class itself is not rebuilt: compare `type` instead.

    Args:
        error: {type, message, stack, cause, non_retryable, details, language}.

    Example:
        >>> wire = {"type": "A", "message": "a", "cause": {"type": "B", "message": "b"}}
        >>> error_to_exception(wire).__cause__
        RemoteError('B', 'b')
    """
    made: list[RemoteError] = []
    while isinstance(error, Mapping) and len(made) <= MAX_CAUSES:
        details = error.get("details")
        made.append(
            RemoteError(
                _string(error.get("type"), "Error"),
                _string(error.get("message")),
                stack=_string(error.get("stack")),
                language=error.get("language"),
                non_retryable=bool(error.get("non_retryable", False)),
                details=cast("Mapping[str, Any]", details)
                if isinstance(details, Mapping)
                else None,
            )
        )
        error = error.get("cause")
    if not made:
        return RemoteError("Error", "")
    for outer, inner in pairwise(made):
        outer.__cause__ = inner
    return made[0]


def exception_to_error(exc: BaseException, *, language: str = "python") -> dict[str, Any]:
    """Turn an exception into an error for the wire.

    It never fails and never answers more than 64 KiB of JSON: long texts are cut
    in the middle, and causes end at the eighth. A RemoteError keeps what it was
    sent with, so that an error stays the same through any number of hops.

    Args:
        exc: the exception, with its traceback if it was raised.
        language: what to say about where it was raised.

    Example:
        >>> exception_to_error(ValueError("no"))
        {'type': 'ValueError', 'message': 'no', 'language': 'python'}
    """
    for limit in (16 * 1024, 4 * 1024, 1024):
        error = _chain(exc, language, limit)
        if _size(error) <= MAX_ERROR_BYTES:
            return error
    error = _one(exc, language, 1024)
    error.pop("details", None)
    return error


def _chain(exc: BaseException, language: str, limit: int) -> dict[str, Any]:
    first = error = _one(exc, language, limit)
    seen = {id(exc)}
    cause = _cause_of(exc)
    while cause is not None and id(cause) not in seen and len(seen) <= MAX_CAUSES:
        seen.add(id(cause))
        error["cause"] = error = _one(cause, language, limit)
        cause = _cause_of(cause)
    return first


def _one(exc: BaseException, language: str, limit: int) -> dict[str, Any]:
    if isinstance(exc, RemoteError):
        kind, message, stack = exc.type, exc.message, exc.stack
        origin = exc.language
        non_retryable = exc.marked_non_retryable
    else:
        kind, message, stack = type(exc).__name__, _message_of(exc), _stack_of(exc)
        origin = language
        non_retryable = _attribute(exc, "non_retryable") is True
    error: dict[str, Any] = {"type": _cut(kind, _MAX_TYPE), "message": _cut(message, limit)}
    if stack:
        error["stack"] = _cut(stack, limit)
    if non_retryable:
        error["non_retryable"] = True
    if details := _details_of(exc):
        error["details"] = details
    if origin:
        error["language"] = origin
    return error


def _cause_of(exc: BaseException) -> BaseException | None:
    if exc.__cause__ is not None:
        return exc.__cause__
    if exc.__context__ is not None and not exc.__suppress_context__:
        return exc.__context__
    if isinstance(exc, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", exc).exceptions[0]
    return None


def _message_of(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception as error:
        return f"(its message could not be made: {type(error).__name__})"


def _stack_of(exc: BaseException) -> str:
    trace = exc.__traceback__
    while trace is not None and trace.tb_next and trace.tb_frame.f_code.co_filename in _OURS:
        trace = trace.tb_next  # how the body was called says nothing about it
    if trace is None:
        return ""
    try:
        return "".join(traceback.format_tb(trace, -_MAX_FRAMES))
    except Exception as error:
        return f"(its stack could not be made: {type(error).__name__})"


def _attribute(exc: BaseException, name: str) -> object:
    """Answer an attribute of a class that may be of anybody's making."""
    try:
        return getattr(exc, name, None)
    except Exception:
        return None


def _details_of(exc: BaseException) -> dict[str, Any] | None:
    details = _attribute(exc, "details")
    try:
        if not isinstance(details, Mapping) or not details:
            return None
        text = json.dumps(dict(cast("Mapping[str, Any]", details)), allow_nan=False)
        if len(text) <= _MAX_DETAILS:
            return json.loads(text)
        reason = "too large"
    except Exception:
        reason = "not JSON"
    return {"left_out": reason}


def _size(value: Any) -> int:
    # escaped, it is at least as long as in UTF-8, and lone surrogates do no harm
    return len(json.dumps(value, allow_nan=False))


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _string(value: object, default: str = "") -> str:
    return value if isinstance(value, str) and value else default
