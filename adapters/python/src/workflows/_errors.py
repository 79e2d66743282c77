"""Every way in which libworkflows can fail, and errors on the wire.

Exception
├── WorkflowsError                    code, details, retryable
│   │
│   │   faults of the library, one class per code
│   ├── InvalidRequest                invalid_request
│   ├── InvalidPayload                invalid_payload
│   │   └── PayloadError              path; also a ValueError; found on this side
│   ├── PayloadTooLarge               payload_too_large
│   ├── UnknownOperation              unknown_operation
│   ├── InvalidConfig                 invalid_config
│   │   ├── InvalidDuration           also a ValueError
│   │   ├── LibraryNotFound           no libworkflows.so could be found
│   │   └── LibraryMismatch           one was found that speaks differently
│   ├── InvalidHandle                 invalid_handle
│   ├── Closed                        closed
│   ├── Busy                          busy, retryable
│   ├── Forked                        forked
│   ├── Cancelled                     cancelled (the call, not an execution)
│   ├── Timeout                       timeout, retryable; also a TimeoutError
│   ├── DatabaseUnavailable           database_unavailable, retryable
│   ├── PermissionDenied              permission_denied
│   ├── SchemaMissing                 schema_missing
│   ├── SchemaOutdated                schema_outdated
│   ├── SchemaTooNew                  schema_too_new
│   ├── ExecutionNotFound             execution_not_found
│   ├── ExecutionFinished             execution_finished
│   ├── InvalidState                  invalid_state
│   ├── LeaseLost                     lease_lost
│   ├── WorkerNotFound                worker_not_found
│   ├── WrongLanguage                 wrong_language
│   ├── Internal                      internal
│   │
│   │   the end of an execution, seen from outside
│   ├── ExecutionFailed               id, type, message, stack; __cause__ is the RemoteError
│   ├── ExecutionCancelled            id
│   ├── ResultTimeout                 id; also a TimeoutError
│   │
│   │   what workflow code sees
│   ├── RemoteError                   type, message, stack, language: an error as it was sent
│   ├── ActivityError                 type, message, attempts, stack
│   │   ├── ActivityCancelled
│   │   └── ActivityTimeout           also a TimeoutError
│   ├── StepError                     type, message, attempts, stack
│   ├── ChildError                    type, message, id, stack
│   │   ├── ChildFailed
│   │   ├── ChildCancelled
│   │   └── ChildTimeout              also a TimeoutError
│   ├── SignalTimeout                 name; also a TimeoutError
│   ├── NonDeterminismError           position, recorded, attempted
│   ├── VersionError                  change, recorded, minimum, maximum
│   └── NotDurableError
│
└── NonRetryableError                 yours to raise: no further attempt

BaseException
└── Evicted                           a suspended workflow is being discarded
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Self, cast

from ._operations import FAULT_CODES

MAX_ERROR_BYTES = 64 * 1024
MAX_CAUSES = 8

_MAX_TYPE = 255
_MAX_DETAILS = 8 * 1024
_MAX_FRAMES = 64


class WorkflowsError(Exception):
    """The root of every error that libworkflows raises.

    Attributes:
        code: the kind of failure, for programs.
        details: facts about it: which field, which id, which limit.
        retryable: whether the same call, unchanged, may succeed later.

    Example:
        >>> error = DatabaseUnavailable("PostgreSQL does not answer")
        >>> error.code, error.retryable
        ('database_unavailable', True)
    """

    code: str = "error"
    retryable: bool = False
    non_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.details: dict[str, Any] = dict(details or {})
        if retryable is not None:
            self.retryable = retryable
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        # args hold whatever a subclass was made with, so that it can be pickled
        return str(self.args[0]) if self.args else ""


class InvalidRequest(WorkflowsError):
    """The request is not what the operation takes."""

    code = "invalid_request"


class InvalidPayload(WorkflowsError):
    """A payload is not JSON that can be stored."""

    code = "invalid_payload"


class PayloadError(InvalidPayload, ValueError):
    """A value cannot cross the wire unchanged; `path` says which one.

    Example:
        >>> str(PayloadError("$.price", "NaN is not JSON"))
        '$.price: NaN is not JSON'
    """

    non_retryable = True

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, details={"path": path})
        self.args = (path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class PayloadTooLarge(WorkflowsError):
    """A payload is over the size or depth limit."""

    code = "payload_too_large"


class UnknownOperation(WorkflowsError):
    """No operation has this name or number."""

    code = "unknown_operation"


class InvalidConfig(WorkflowsError):
    """The configuration cannot work."""

    code = "invalid_config"


class InvalidDuration(InvalidConfig, ValueError):
    """A duration is neither a number of seconds nor text such as "30s"."""


class LibraryNotFound(InvalidConfig):
    """The shared library libworkflows.so could not be found or loaded."""


class LibraryMismatch(InvalidConfig):
    """The shared library is of another version than this package."""


class InvalidHandle(WorkflowsError):
    """No engine or channel has this handle."""

    code = "invalid_handle"


class Closed(WorkflowsError):
    """The engine or channel was closed, perhaps while the call was on its way."""

    code = "closed"


class Busy(WorkflowsError):
    """Too much is waiting; try again later."""

    code = "busy"
    retryable = True


class Forked(WorkflowsError):
    """The process forked after the library was loaded, and cannot use it."""

    code = "forked"


class Cancelled(WorkflowsError):
    """The caller cancelled the call. An execution is not meant: see ExecutionCancelled."""

    code = "cancelled"


class Timeout(WorkflowsError, TimeoutError):
    """The call took longer than it was allowed to."""

    code = "timeout"
    retryable = True


class DatabaseUnavailable(WorkflowsError):
    """PostgreSQL cannot be reached or refused us."""

    code = "database_unavailable"
    retryable = True


class PermissionDenied(WorkflowsError):
    """The database role lacks a privilege."""

    code = "permission_denied"


class SchemaMissing(WorkflowsError):
    """The schema was never migrated: run `workflows migrate`."""

    code = "schema_missing"


class SchemaOutdated(WorkflowsError):
    """The schema is older than the library: run `workflows migrate`."""

    code = "schema_outdated"


class SchemaTooNew(WorkflowsError):
    """The schema is newer than the library: upgrade this package."""

    code = "schema_too_new"


class ExecutionNotFound(WorkflowsError):
    """No execution has this id."""

    code = "execution_not_found"


class ExecutionFinished(WorkflowsError):
    """The execution is in a final state."""

    code = "execution_finished"


class InvalidState(WorkflowsError):
    """The execution is not in a state that allows this."""

    code = "invalid_state"


class LeaseLost(WorkflowsError):
    """The execution is no longer held under this lease."""

    code = "lease_lost"


class WorkerNotFound(WorkflowsError):
    """No worker of this engine has this id."""

    code = "worker_not_found"


class WrongLanguage(WorkflowsError):
    """A workflow was begun by code of another language."""

    code = "wrong_language"


class Internal(WorkflowsError):
    """A bug in the library."""

    code = "internal"


class RemoteError(WorkflowsError):
    """An error as it was sent: raised by a function elsewhere, perhaps in another language.

    Its remote stack is attached as a note, so that a traceback shows it.

    Attributes:
        type: bare name of the remote error's type, such as "ValueError".
        message: its message.
        stack: its stack, as the other language writes it; "" if unknown.
        language: where it was raised, such as "python"; None if unknown.

    Example:
        >>> error = error_to_exception({"type": "KeyError", "message": "'x'"})
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


class _Outcome(WorkflowsError):
    """How something ended elsewhere: a type, a message, a stack and a cause."""

    def __init__(
        self,
        type: str,
        message: str,
        *,
        stack: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, details=details)
        self.args = (type, message)
        self.type = type
        self.message = message
        self.stack = stack

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    def _caused_by(self, error: Mapping[str, Any]) -> Self:
        cause = error_to_exception(error)
        self.stack = cause.stack
        self.details = dict(cause.details)
        self.__cause__ = cause
        return self


class ExecutionFailed(_Outcome):
    """The execution whose result was asked for has failed.

    Attributes:
        id: the execution's.
        type: bare name of the remote error's type.
        message: its message.
        stack: its stack.

    `__cause__` is the RemoteError with the chain of its causes.
    """

    code = "execution_failed"

    def __init__(self, type: str, message: str, id: str = "", *, stack: str = "") -> None:
        super().__init__(type, message, stack=stack)
        self.args = (type, message, id)
        self.id = id

    @classmethod
    def of(cls, error: Mapping[str, Any] | None, id: str = "") -> Self:
        """Make one from an error as it is stored."""
        error = error or {}
        made = cls(_string(error.get("type"), "Error"), _string(error.get("message")), id)
        return made._caused_by(error)


class ExecutionCancelled(WorkflowsError):
    """The execution whose result was asked for was cancelled or terminated."""

    code = "execution_cancelled"

    def __init__(self, message: str = "", id: str = "") -> None:
        super().__init__(message)
        self.args = (message, id)
        self.id = id


class ResultTimeout(WorkflowsError, TimeoutError):
    """The result was not there in time. The execution goes on unharmed; ask again."""

    code = "result_timeout"
    retryable = True

    def __init__(self, message: str = "", id: str = "") -> None:
        super().__init__(message)
        self.args = (message, id)
        self.id = id


class _Attempted(_Outcome):
    def __init__(self, type: str, message: str, attempts: int = 1, *, stack: str = "") -> None:
        super().__init__(type, message, stack=stack)
        self.args = (type, message, attempts)
        self.attempts = attempts

    @classmethod
    def of(cls, error: Mapping[str, Any] | None, attempts: int = 1) -> Self:
        """Make one from an error as it is stored."""
        error = error or {}
        made = cls(_string(error.get("type"), "Error"), _string(error.get("message")), attempts)
        return made._caused_by(error)


class ActivityError(_Attempted):
    """An activity has failed for good, all its retries included.

    Attributes:
        type: bare name of the remote error's type.
        message: its message.
        attempts: how often its body began.
        stack: its stack.

    `__cause__` is the RemoteError with the chain of its causes.

    Example:
        >>> try:
        ...     raise ActivityError.of({"type": "CardDeclined", "message": "no funds"}, attempts=4)
        ... except ActivityError as error:
        ...     error.type, error.attempts
        ('CardDeclined', 4)
    """

    code = "activity_failed"


class ActivityCancelled(ActivityError):
    """An activity was cancelled by somebody other than this workflow."""

    code = "activity_cancelled"


class ActivityTimeout(ActivityError, TimeoutError):
    """An activity has run out of the time that it was given."""

    code = "activity_timeout"


class StepError(_Attempted):
    """A step has failed for good, all its retries included."""

    code = "step_failed"


class ChildError(_Outcome):
    """A child workflow did not complete; the subclass says how it ended."""

    code = "child_error"

    def __init__(self, type: str, message: str, id: str = "", *, stack: str = "") -> None:
        super().__init__(type, message, stack=stack)
        self.args = (type, message, id)
        self.id = id

    @classmethod
    def of(cls, error: Mapping[str, Any] | None, id: str = "") -> Self:
        """Make one from an error as it is stored."""
        error = error or {}
        made = cls(_string(error.get("type"), "Error"), _string(error.get("message")), id)
        return made._caused_by(error)


class ChildFailed(ChildError):
    """A child workflow has failed."""

    code = "child_failed"


class ChildCancelled(ChildError):
    """A child workflow was cancelled by somebody other than its parent."""

    code = "child_cancelled"


class ChildTimeout(ChildError, TimeoutError):
    """A child workflow has run out of the time that it was given."""

    code = "child_timeout"


class SignalTimeout(WorkflowsError, TimeoutError):
    """No signal of this name came in time."""

    code = "signal_timeout"

    def __init__(self, message: str = "", name: str = "") -> None:
        super().__init__(message)
        self.args = (message, name)
        self.name = name


class NonDeterminismError(WorkflowsError):
    """Workflow code did something else than its history recorded.

    The workflow is parked: put the old code back, or give it a version with
    `get_version`, and retry it.
    """

    code = "non_determinism"
    non_retryable = True

    def __init__(
        self,
        message: str = "",
        *,
        position: int = 0,
        recorded: str = "",
        attempted: str = "",
    ) -> None:
        details = {"position": position, "recorded": recorded, "attempted": attempted}
        super().__init__(message, details=details)
        self.position = position
        self.recorded = recorded
        self.attempted = attempted


class VersionError(WorkflowsError):
    """A workflow recorded a version that this code no longer supports."""

    code = "unsupported_version"
    non_retryable = True

    def __init__(
        self,
        message: str = "",
        *,
        change: str = "",
        recorded: int = 0,
        minimum: int = 0,
        maximum: int = 0,
    ) -> None:
        super().__init__(
            message,
            details={
                "change": change,
                "recorded": recorded,
                "minimum": minimum,
                "maximum": maximum,
            },
        )
        self.change = change
        self.recorded = recorded
        self.minimum = minimum
        self.maximum = maximum


class NotDurableError(WorkflowsError):
    """Workflow code awaited, or asked for, something that would not survive a restart."""

    code = "not_durable"
    non_retryable = True


class NonRetryableError(Exception):
    """Raise this, or a subclass, in a function to fail without another attempt.

    Example:
        >>> class CardDeclined(NonRetryableError):
        ...     pass
        >>> exception_to_error(CardDeclined("no funds"))["non_retryable"]
        True
    """

    non_retryable: ClassVar[bool] = True


class Evicted(BaseException):
    """A suspended workflow is being discarded from memory.

    A call of the SDK raises this while `finally` blocks run that no code of
    yours asked to run. It is no Exception, so that `except Exception` does not
    hold it up. The workflow itself goes on elsewhere, from its history.
    """


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
        non_retryable = getattr(exc, "non_retryable", False) is True
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
    if exc.__traceback__ is None:
        return ""
    try:
        return "".join(traceback.format_tb(exc.__traceback__, -_MAX_FRAMES))
    except Exception as error:
        return f"(its stack could not be made: {type(error).__name__})"


def _details_of(exc: BaseException) -> dict[str, Any] | None:
    details = getattr(exc, "details", None)
    if not isinstance(details, Mapping) or not details:
        return None
    try:
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
