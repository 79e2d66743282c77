"""How things ended elsewhere: executions seen from outside, activities, steps and children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from ._errors import WorkflowsError
from ._wire_errors import RemoteError, error_to_exception


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

    def _caused_by(self, cause: RemoteError) -> Self:
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
        cause = error_to_exception(error)
        return cls(cause.type, cause.message, id)._caused_by(cause)


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
        cause = error_to_exception(error)
        return cls(cause.type, cause.message, attempts)._caused_by(cause)


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
        cause = error_to_exception(error)
        return cls(cause.type, cause.message, id)._caused_by(cause)


class ChildFailed(ChildError):
    """A child workflow has failed."""

    code = "child_failed"


class ChildCancelled(ChildError):
    """A child workflow was cancelled by somebody other than its parent."""

    code = "child_cancelled"


class ChildTimeout(ChildError, TimeoutError):
    """A child workflow has run out of the time that it was given."""

    code = "child_timeout"
