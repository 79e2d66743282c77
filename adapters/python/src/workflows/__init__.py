"""libworkflows: durable jobs, activities and workflows on nothing but PostgreSQL."""

from typing import Any as _Any

from ._attempts import AttemptInfo as AttemptInfo
from ._attempts import attempt_info as attempt_info
from ._attempts import cancelled as cancelled
from ._attempts import heartbeat as heartbeat
from ._attempts import last_heartbeat as last_heartbeat
from ._client import Client as Client
from ._client import client as client
from ._client import configure as configure
from ._combinators import as_completed as as_completed
from ._combinators import gather as gather
from ._combinators import race as race
from ._combinators import shield as shield
from ._combinators import timeout as timeout
from ._combinators import wait as wait
from ._errors import Busy as Busy
from ._errors import Cancelled as Cancelled
from ._errors import Closed as Closed
from ._errors import DatabaseUnavailable as DatabaseUnavailable
from ._errors import Evicted as Evicted
from ._errors import ExecutionFinished as ExecutionFinished
from ._errors import ExecutionNotFound as ExecutionNotFound
from ._errors import Forked as Forked
from ._errors import HistoryTooLong as HistoryTooLong
from ._errors import Internal as Internal
from ._errors import InvalidConfig as InvalidConfig
from ._errors import InvalidDuration as InvalidDuration
from ._errors import InvalidHandle as InvalidHandle
from ._errors import InvalidPayload as InvalidPayload
from ._errors import InvalidRequest as InvalidRequest
from ._errors import InvalidState as InvalidState
from ._errors import LeaseLost as LeaseLost
from ._errors import LibraryMismatch as LibraryMismatch
from ._errors import LibraryNotFound as LibraryNotFound
from ._errors import NonDeterminismError as NonDeterminismError
from ._errors import NonRetryableError as NonRetryableError
from ._errors import NotDurableError as NotDurableError
from ._errors import PayloadError as PayloadError
from ._errors import PayloadTooLarge as PayloadTooLarge
from ._errors import PermissionDenied as PermissionDenied
from ._errors import SchemaMissing as SchemaMissing
from ._errors import SchemaOutdated as SchemaOutdated
from ._errors import SchemaTooNew as SchemaTooNew
from ._errors import SignalTimeout as SignalTimeout
from ._errors import Timeout as Timeout
from ._errors import UnknownOperation as UnknownOperation
from ._errors import VersionError as VersionError
from ._errors import WorkerNotFound as WorkerNotFound
from ._errors import WorkflowsError as WorkflowsError
from ._errors import WrongLanguage as WrongLanguage
from ._functions import Function as Function
from ._functions import activity as activity
from ._functions import job as job
from ._functions import step as step
from ._functions import workflow as workflow
from ._handles import Handle as Handle
from ._options import Options as Options
from ._outcomes import ActivityCancelled as ActivityCancelled
from ._outcomes import ActivityError as ActivityError
from ._outcomes import ActivityTimeout as ActivityTimeout
from ._outcomes import ChildCancelled as ChildCancelled
from ._outcomes import ChildError as ChildError
from ._outcomes import ChildFailed as ChildFailed
from ._outcomes import ChildTimeout as ChildTimeout
from ._outcomes import ExecutionCancelled as ExecutionCancelled
from ._outcomes import ExecutionFailed as ExecutionFailed
from ._outcomes import ResultTimeout as ResultTimeout
from ._outcomes import StepError as StepError
from ._settings import Duration as Duration
from ._wire_errors import RemoteError as RemoteError
from ._worker import Worker as Worker
from ._workflow import WorkflowInfo as WorkflowInfo
from ._workflow import continue_as_new as continue_as_new
from ._workflow import get_state as get_state
from ._workflow import get_version as get_version
from ._workflow import is_replaying as is_replaying
from ._workflow import now as now
from ._workflow import random as random
from ._workflow import send_signal as send_signal
from ._workflow import set_state as set_state
from ._workflow import sleep as sleep
from ._workflow import uuid4 as uuid4
from ._workflow import wait_for_signal as wait_for_signal
from ._workflow import workflow_info as workflow_info

__version__: str  # looked up when somebody asks


def __getattr__(name: str) -> _Any:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._version import version

    return version()


for _each in list(globals().values()):
    if isinstance(_each, type) and issubclass(_each, BaseException):
        _each.__module__ = __name__  # a traceback names what can be imported
