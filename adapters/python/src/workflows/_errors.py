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
│   ├── HistoryTooLong                history_too_long
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

from collections.abc import Mapping
from typing import Any, ClassVar


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


class HistoryTooLong(WorkflowsError):
    """A workflow's history is full: let it call `continue_as_new` in time."""

    code = "history_too_long"


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
        >>> CardDeclined("no funds").non_retryable
        True
    """

    non_retryable: ClassVar[bool] = True


class Evicted(BaseException):
    """A suspended workflow is being discarded from memory.

    A call of the SDK raises this while `finally` blocks run that no code of
    yours asked to run. It is no Exception, so that `except Exception` does not
    hold it up. The workflow itself goes on elsewhere, from its history.
    """
