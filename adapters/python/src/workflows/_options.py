"""Options of durable functions: what there is, what is allowed, and what goes over the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, TypeAlias, TypedDict, cast

from ._payload import plain
from ._settings import Duration, Settings, milliseconds

Kind: TypeAlias = Literal["job", "activity", "step", "workflow"]

MAX_NAME_BYTES = 255
_MAX_RETRIES = 1_000_000


class Options(TypedDict, total=False):
    """What can be said about a durable function.

    Durations are seconds, or text such as "30s", "5m".

    Attributes:
        name: how executions find this code; 1 to 255 bytes. Only for decorators. Default
            `__qualname__`.
        external: the code is elsewhere, as in another language; this is a declaration, whose
            body never runs. Only for decorators.
        queue: whose workers run it. Default the workflow's own inside a workflow, else "default".
        version: of the code, for whoever reads an execution.
        priority: 0 to 10, higher first. Default 5.
        timeout: bounds one attempt; of a workflow, the whole of it.
        total_timeout: bounds the execution with all its attempts.
        schedule_timeout: bounds the time until the first start.
        delay: the earliest start from now, by the database's clock.
        run_at: the earliest start, an aware datetime. Not together with delay.
        idempotency_key: a second call with the same name and key answers the first one's
            execution. Not inside a workflow.
        signal: sent to the workflow with its start, as (name, payload) or (name, payload, key). If
            the idempotency key leads to one that was there, it is sent to that one.
        retries: how many failures are followed by another attempt. Default 3; not for workflows.
        initial: the delay after the first failure. Default 1 s.
        factor: multiplies the delay after each further failure. Default 2.
        max: caps the delay. Default 60 s.
        jitter: spreads the delay by this fraction of it, 0 to 1. Default 0.1.
        non_retryable: exception types, or their names, that are never retried.
        close_policy: what becomes of it when the workflow that started it ends first: "cancel"
            (default) or "detach".
    """

    name: str
    external: bool
    queue: str
    version: str
    priority: int
    timeout: Duration | None
    total_timeout: Duration | None
    schedule_timeout: Duration | None
    delay: Duration
    run_at: datetime
    idempotency_key: str
    signal: tuple[str, Any] | tuple[str, Any, str]
    retries: int
    initial: Duration
    factor: float
    max: Duration
    jitter: float
    non_retryable: Iterable[type[BaseException] | str]
    close_policy: Literal["cancel", "detach"]


def checked(kind: Kind, options: Mapping[str, Any], *, decorator: bool = False) -> Options:
    """Answers the options if each is one and is allowed.

    Raises:
        TypeError: an unknown option, one without a meaning here, or a wrong type.
        ValueError: a value out of its range.
    """
    for option, value in options.items():
        check = _CHECKS.get(option)
        if check is None:
            raise TypeError(
                f"{option!r} is no option of a {kind}; there are {', '.join(sorted(_CHECKS))}"
            )
        if option in ("name", "external") and not decorator:
            raise TypeError(
                f"{option}= belongs into the decorator: executions find their code by it"
            )
        if kind == "workflow" and option in _NOT_OF_WORKFLOWS and value != 0:
            raise TypeError(
                f"{option}= has no meaning for a workflow, which goes on from its history instead "
                f"of beginning again: give it to the activities, and timeout= to the workflow"
            )
        if option == "signal" and kind != "workflow":
            raise TypeError(f"signal= has no meaning for a {kind}: only workflows take signals")
        if kind == "step" and option not in _OF_STEPS:
            raise TypeError(
                f"{option}= has no meaning for a step, which runs inside its workflow; make "
                f"it an activity"
            )
        check(option, value)
    if options.get("delay") and options.get("run_at"):
        raise ValueError("delay= and run_at= both say when to start; give one of them")
    return cast(Options, dict(options))


def name_of(plain: Callable[..., Any], options: Mapping[str, Any]) -> str:
    """Answers the name that executions find a function by.

    Raises:
        ValueError: it is empty or over 255 bytes.
    """
    name = options.get("name")
    if name is None:
        name = getattr(plain, "__qualname__", type(plain).__qualname__)
    _short_text("name", name)
    return cast(str, name)


def execution_fields(kind: Kind, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Answers the fields of a new execution that options and `WORKFLOWS_DEFAULT_*` decide."""
    settings = _settings()
    fields: dict[str, Any] = {"kind": kind, "name": name}
    for option in ("queue", "priority", "idempotency_key", "version"):
        if option in options:
            fields[option] = options[option]
    if "delay" in options:
        fields["delay_ms"] = milliseconds(options["delay"], name="delay")
    if "run_at" in options:
        fields["run_at"] = options["run_at"].isoformat()
    default = settings.default_workflow_timeout if kind == "workflow" else settings.default_timeout
    _timeouts(fields, options, kind, default)
    if "signal" in options:
        fields["signals"] = [_signal(*options["signal"])]
    if retry := retry_policy(kind, options):
        fields["retry"] = retry
    return fields


def _signal(name: str, payload: Any, key: str | None = None) -> dict[str, Any]:
    signal = {"name": name, "payload": plain(payload, path="signal")}
    return signal if key is None else {**signal, "idempotency_key": key}


def _timeouts(
    fields: dict[str, Any], options: Mapping[str, Any], kind: Kind, default: float | None
) -> None:
    own = options.get("timeout", default)
    wanted = {
        "timeout_ms" if kind == "workflow" else "attempt_timeout_ms": own,
        **({"timeout_ms": options["total_timeout"]} if "total_timeout" in options else {}),
        "schedule_timeout_ms": options.get("schedule_timeout"),
    }
    for field, value in wanted.items():
        if value is not None:
            fields[field] = milliseconds(value, name=field.removesuffix("_ms"))


def retry_policy(kind: Kind, options: Mapping[str, Any]) -> dict[str, Any]:
    """Answers the retry policy as it goes over the wire; what is at its default is left out."""
    policy: dict[str, Any] = {}
    retries = options.get("retries", None if kind == "workflow" else _settings().default_retries)
    if retries is not None:
        policy["retries"] = retries
    for option, field in (("initial", "initial_ms"), ("max", "max_ms")):
        if option in options:
            policy[field] = milliseconds(options[option], name=option)
    for option in ("factor", "jitter"):
        if option in options:
            policy[option] = options[option]
    if "non_retryable" in options:
        policy["non_retryable"] = [
            each if isinstance(each, str) else each.__name__ for each in options["non_retryable"]
        ]
    return policy


@lru_cache(maxsize=1)
def _settings() -> Settings:
    return Settings.from_environment()


def _short_text(option: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{option}= must be a str, not {value!r}")
    size = len(value.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= MAX_NAME_BYTES or "\0" in value:
        raise ValueError(
            f"{option}= must have 1 to {MAX_NAME_BYTES} bytes and no NUL, not {size} bytes: "
            f"{value[:40]!r}"
        )


def _whole(low: int, high: int) -> Callable[[str, object], None]:
    def check(option: str, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{option}= must be a whole number, not {value!r}")
        if not low <= value <= high:
            raise ValueError(f"{option}= must be {low} to {high}, not {value}")

    return check


def _number(low: float, high: float) -> Callable[[str, object], None]:
    def check(option: str, value: object) -> None:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise TypeError(f"{option}= must be a number, not {value!r}")
        if not low <= value <= high:
            raise ValueError(f"{option}= must be {low:g} to {high:g}, not {value}")

    return check


def _duration(option: str, value: Any) -> None:
    milliseconds(value, name=option)


def _timeout(option: str, value: Any) -> None:
    if value is not None and milliseconds(value, name=option) == 0:
        raise ValueError(f"{option}= must be more than 0; None means none")


def _instant(option: str, value: object) -> None:
    if not isinstance(value, datetime):
        raise TypeError(f"{option}= must be a datetime, not {value!r}")
    if value.utcoffset() is None:
        raise ValueError(
            f"{option}= must be aware, such as datetime.now(timezone.utc): {value!r} could be "
            f"any time zone's"
        )


def _types(option: str, value: Any) -> None:
    if isinstance(value, (str, type)):
        raise TypeError(
            f"{option}= must be a list of exception types or names, such as [{value!r}]"
        )
    for each in value:
        if not (isinstance(each, str) and each) and not (
            isinstance(each, type) and issubclass(each, BaseException)
        ):
            raise TypeError(f"{option}= must have exception types or their names, not {each!r}")


def _named_payload(option: str, value: Any) -> None:
    if not isinstance(value, tuple) or len(cast("tuple[Any, ...]", value)) not in (2, 3):
        raise TypeError(f"{option}= must be (name, payload) or (name, payload, key), not {value!r}")
    name, _, *key = cast("tuple[Any, ...]", value)
    for each in (name, *key):
        _short_text(option, each)


def _policy(option: str, value: object) -> None:
    if value not in ("cancel", "detach"):
        raise ValueError(f'{option}= must be "cancel" or "detach", not {value!r}')


def _flag(option: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{option}= must be True or False, not {value!r}")


_CHECKS: Mapping[str, Callable[[str, Any], None]] = {
    "name": _short_text,
    "external": _flag,
    "queue": _short_text,
    "version": _short_text,
    "priority": _whole(0, 10),
    "timeout": _timeout,
    "total_timeout": _timeout,
    "schedule_timeout": _timeout,
    "delay": _duration,
    "run_at": _instant,
    "idempotency_key": _short_text,
    "signal": _named_payload,
    "retries": _whole(0, _MAX_RETRIES),
    "initial": _duration,
    "factor": _number(1, 1000),
    "max": _duration,
    "jitter": _number(0, 1),
    "non_retryable": _types,
    "close_policy": _policy,
}
_NOT_OF_WORKFLOWS = {
    "retries",
    "initial",
    "factor",
    "max",
    "jitter",
    "non_retryable",
    "total_timeout",
}
_OF_STEPS = {"name", "timeout", "retries", "initial", "factor", "max", "jitter", "non_retryable"}
