"""Values and their annotations: what JSON stands for them, and back again.

Beside plain JSON, a value is taken where a type annotation can bring it back:

    annotation                           on the wire
    a dataclass, a TypedDict             object of its fields
    a pydantic model                     model_dump(mode="json")
    a NamedTuple, tuple[X, Y]            array
    datetime, date, time                 ISO 8601 text
    UUID, Decimal                        text
    an Enum                              its value
    list[X], dict[str, X], X | None      of what X is

An annotation rebuilds; it does not validate: an argument annotated `int` that was
sent as text stays text, as in a plain call. Pydantic models do validate. Fields that
a dataclass does not have are left out, so that old histories stay readable.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Union, cast
from uuid import UUID

from ._errors import PayloadError

MAX_DEPTH = 128
SCALARS = frozenset({str, int, float, bool, type(None)})

type_of: Callable[[Any], type[Any]] = type

_TEXTS: Mapping[type, Callable[[Any], str]] = {
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    UUID: str,
    Decimal: str,
}
_SEQUENCES = (list, Sequence, Iterable, typing.Collection)
_MAPPINGS = (dict, Mapping, typing.MutableMapping)


# --- values to JSON -----------------------------------------------------------------


def lower(value: Any, hint: Any, path: str, depth: int) -> Any:
    """Answer the plain JSON that stands for a value which an annotation describes."""
    kind = type_of(value)
    if kind in SCALARS:
        if kind is float and not math.isfinite(value):
            raise PayloadError(path, f"{value} is not JSON")
        return value
    hint = _bare(hint)
    if _is_union(hint):
        return _lower_union(value, hint, path, depth)
    if isinstance(value, Enum):
        return _lower_enum(value, hint, path)
    if kind in _TEXTS:
        _must_come_back(value, hint, path)
        if isinstance(value, Decimal) and not value.is_finite():
            raise PayloadError(path, f"{value} is not JSON")
        return _TEXTS[kind](value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise PayloadError(path, f"{name_of(kind)} is not JSON; encode it as text, as with base64")
    if isinstance(value, (set, frozenset)):
        raise PayloadError(path, "a set is not JSON and has no order; pass a sorted list")
    if depth == 0:
        reason = f"it nests deeper than {MAX_DEPTH} levels, or contains itself"
        raise PayloadError(path, reason)
    if isinstance(value, Mapping):
        return _lower_mapping(cast("Mapping[Any, Any]", value), hint, path, depth - 1)
    if isinstance(value, (list, tuple)):
        return _lower_sequence(cast("Sequence[Any]", value), hint, path, depth - 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        _must_come_back(value, hint, path)
        hints = _hints(kind)
        return {
            field.name: lower(
                getattr(value, field.name),
                hints.get(field.name, Any),
                member(path, field.name),
                depth - 1,
            )
            for field in dataclasses.fields(value)
            if field.init
        }
    if _is_model(kind):
        _must_come_back(value, hint, path)
        try:
            dumped = cast("Any", value).model_dump(mode="json", by_alias=True, round_trip=True)
        except ValueError as error:  # PydanticSerializationError is one
            raise PayloadError(path, f"{name_of(kind)} cannot be written: {error}") from error
        return lower(dumped, Any, path, depth)
    for scalar in (str, int, float):
        if isinstance(value, scalar):  # numpy.float64 and other subclasses without a meaning
            return lower(scalar(value), Any, path, depth)
    if isinstance(value, Awaitable):
        raise PayloadError(path, f"{name_of(kind)} is not JSON; was an `await` forgotten?")
    raise PayloadError(path, f"{name_of(kind)} is not JSON")


def _must_come_back(value: Any, hint: Any, path: str) -> None:
    kind = type_of(value)
    if (typing.get_origin(hint) or hint) is not kind:
        raise PayloadError(
            path,
            f"{name_of(kind)} is not JSON, and no type annotation says to bring it back;"
            f" annotate it as {kind.__name__}, or convert it yourself",
        )


def _lower_enum(value: Enum, hint: Any, path: str) -> Any:
    _must_come_back(value, hint, path)
    if type(value.value) not in SCALARS:
        raise PayloadError(path, f"the value of {value} is neither text nor number")
    return lower(value.value, Any, path, 0)


def _lower_mapping(value: Mapping[Any, Any], hint: Any, path: str, depth: int) -> dict[str, Any]:
    fields = _hints(hint) if typing.is_typeddict(hint) else {}
    arguments = typing.get_args(hint)
    of_all = arguments[1] if len(arguments) == 2 else Any
    lowered: dict[str, Any] = {}
    for key, item in value.items():
        if type(key) is not str:
            reason = f"the key {key!r} is {name_of(type_of(key))}; JSON has only text keys"
            raise PayloadError(path, reason)
        lowered[key] = lower(item, fields.get(key, of_all), member(path, key), depth)
    return lowered


def _lower_sequence(value: Sequence[Any], hint: Any, path: str, depth: int) -> list[Any]:
    if isinstance(value, tuple) and hasattr(cast("Any", value), "_fields"):
        _must_come_back(value, hint, path)
    hints = _item_hints(hint, len(value))
    return [
        lower(item, of, f"{path}[{index}]", depth)
        for index, (item, of) in enumerate(zip(value, hints, strict=True))
    ]


def _lower_union(value: Any, hint: Any, path: str, depth: int) -> Any:
    first: PayloadError | None = None
    for member in typing.get_args(hint):
        try:
            lowered = lower(value, member, path, depth)
            if type(lift(lowered, hint, path)) is type(value):
                return lowered
            first = PayloadError(
                path,
                f"{name_of(type_of(value))} would not come back as one: {_show(hint)} reads"
                " the same JSON as something else",
            )
        except PayloadError as error:
            first = first or error
    assert first is not None, "a union has members"
    raise first


# --- JSON to values -----------------------------------------------------------------


@lru_cache(maxsize=4096)
def may_change(hint: Any) -> bool:
    """Say whether an annotation may change a value."""
    hint = _bare(hint)
    if hint is Any or hint in SCALARS or hint is None or hint in (list, dict, object):
        return False
    if typing.get_origin(hint) is typing.Literal:
        return False
    if _is_union(hint) or typing.get_origin(hint) in (*_SEQUENCES, *_MAPPINGS):
        return any(may_change(member) for member in typing.get_args(hint))
    return hint is tuple or isinstance(hint, type) or typing.get_origin(hint) is not None


def lift(value: Any, hint: Any, path: str, *, exact: bool = False) -> Any:
    """Rebuild a value from plain JSON; `exact` refuses fields that a dataclass does not have."""
    hint = _bare(hint)
    if hint is Any:
        return value
    if _is_union(hint):
        return _lift_union(value, hint, path)
    found: Any = typing.get_origin(hint) or hint
    if not isinstance(found, type):
        return value
    origin = cast("type[Any]", found)
    if origin in _LIFTS:
        return _lift_text(value, origin, path)
    if issubclass(origin, Enum):
        return _guard(value, origin, path)
    if _is_model(origin):
        return _lift_model(value, origin, path)
    if dataclasses.is_dataclass(origin):
        return _lift_dataclass(value, origin, path, exact)
    if typing.is_typeddict(origin):
        return _lift_members(value, _hints(origin), Any, path)
    if issubclass(origin, tuple):
        return _lift_tuple(value, hint, cast("Any", origin), path)
    if origin in _SEQUENCES and isinstance(value, list):
        of = _item_hints(hint, 1)[0]
        items = enumerate(cast("list[Any]", value))
        return [lift(item, of, f"{path}[{index}]") for index, item in items]
    if origin in _MAPPINGS and isinstance(value, dict):
        arguments = typing.get_args(hint)
        return _lift_members(value, {}, arguments[1] if len(arguments) == 2 else Any, path)
    return value


def _decimal(value: str | int | float) -> Decimal:
    return Decimal(repr(value) if isinstance(value, float) else value)


_LIFTS: Mapping[type, tuple[tuple[type, ...], Callable[[Any], Any]]] = {
    datetime: ((str,), datetime.fromisoformat),
    date: ((str,), date.fromisoformat),
    time: ((str,), time.fromisoformat),
    UUID: ((str,), UUID),
    Decimal: ((str, int, float), _decimal),
}


def _lift_text(value: Any, kind: type, path: str) -> Any:
    accepted, read = _LIFTS[kind]
    if type(value) not in accepted:
        raise _misfit(value, kind, path)
    return _guard(value, read, path, kind)


def _guard(value: Any, read: Callable[[Any], Any], path: str, kind: type | None = None) -> Any:
    try:
        return read(value)
    except (ValueError, ArithmeticError):
        raise _misfit(value, kind or cast("type", read), path) from None


def _lift_model(value: Any, kind: Any, path: str) -> Any:
    try:
        return kind.model_validate(value)
    except ValueError as error:  # pydantic.ValidationError is one
        errors: Any = getattr(error, "errors", None)
        if not callable(errors):
            raise PayloadError(path, f"it does not fit {name_of(kind)}: {error}") from error
        found = cast("list[dict[str, Any]]", errors(include_url=False, include_input=False))
        for step in found[0]["loc"]:
            path = f"{path}[{step}]" if isinstance(step, int) else member(path, step)
        raise PayloadError(path, f"it does not fit {name_of(kind)}: {found[0]['msg']}") from error


def _lift_dataclass(value: Any, kind: type[Any], path: str, exact: bool) -> Any:
    if not isinstance(value, dict):
        raise _misfit(value, kind, path)
    given = cast("dict[str, Any]", value)
    hints = _hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    if exact and not given.keys() <= fields.keys():
        raise _misfit(value, kind, path)
    for name, field in fields.items():
        missing = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if name not in given and missing:
            raise PayloadError(member(path, name), f"it is missing, and {name_of(kind)} needs it")
    members = {
        name: lift(given[name], hints.get(name, Any), member(path, name))
        for name in fields
        if name in given
    }
    try:
        return kind(**members)
    except (ValueError, TypeError) as error:  # its __post_init__ may check more
        raise PayloadError(path, f"{name_of(kind)} refuses it: {error}") from error


def _lift_members(value: Any, hints: Mapping[str, Any], other: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise PayloadError(path, f"{_json_name(value)} came where an object was expected")
    return {
        key: lift(item, hints.get(key, other), member(path, key))
        for key, item in cast("dict[str, Any]", value).items()
    }


def _lift_tuple(value: Any, hint: Any, origin: type[Any], path: str) -> Any:
    if not isinstance(value, list):
        raise _misfit(value, origin, path)
    given = cast("list[Any]", value)
    hints = _item_hints(hint, len(given))
    lifted = [
        lift(item, of, f"{path}[{index}]")
        for index, (item, of) in enumerate(zip(given, hints, strict=True))
    ]
    if not hasattr(origin, "_fields"):
        return tuple(lifted)
    try:
        return origin(*lifted)
    except TypeError as error:
        raise PayloadError(path, f"{name_of(origin)} refuses it: {error}") from None


def _lift_union(value: Any, hint: Any, path: str) -> Any:
    """Choose the member that fits best: JSON's own types first, then the others in order."""
    members = [_bare(member) for member in typing.get_args(hint)]
    kind = type_of(value)
    if any(_is_json_of(member, kind) for member in members):
        return value
    misfit: PayloadError | None = None
    for exact in (True, False):
        for member in members:
            if member in SCALARS or member is None:
                continue
            if (typing.get_origin(member) or member) in _SEQUENCES and kind is not list:
                continue
            try:
                return lift(value, member, path, exact=exact)
            except PayloadError as error:
                misfit = error
    if misfit is None or Any in members:
        return value
    raise misfit


def _is_json_of(member: Any, kind: type) -> bool:
    if typing.get_origin(member) is typing.Literal:
        return kind in {type(choice) for choice in typing.get_args(member)}
    if member is float and kind is int:
        return True
    return member is kind or (member is None and kind is type(None))


# --- annotations --------------------------------------------------------------------


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Answer a function's annotations, resolved; those that cannot be are left out.

    Example:
        >>> def f(a: "int") -> str: ...
        >>> type_hints(f)
        {'a': <class 'int'>, 'return': <class 'str'>}
    """
    try:
        return typing.get_type_hints(function)
    except Exception:
        # One name that only exists for type checkers must not hide the others.
        return _hints_one_by_one(function)


def _hints_one_by_one(function: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = getattr(function, "__globals__", None) or vars(
        sys.modules.get(function.__module__, types)
    )
    for name, annotation in getattr(function, "__annotations__", {}).items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            found.update(typing.get_type_hints(holder, globalns=names))
        except Exception:
            continue
    return found


@lru_cache(maxsize=4096)
def _hints(kind: Any) -> dict[str, Any]:
    return type_hints(kind)


def _bare(hint: Any) -> Any:
    """Strip what says nothing about the form of a value."""
    while True:
        if hint is inspect.Parameter.empty or isinstance(hint, (str, typing.TypeVar)):
            return Any
        if typing.get_origin(hint) in (
            typing.Annotated,
            typing.Required,
            typing.NotRequired,
        ) or typing.get_origin(hint) in (typing.Final, typing.ClassVar):
            hint = typing.get_args(hint)[0]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":  # `type X = ...` of 3.12
            hint = hint.__value__
        else:
            return hint


def _is_union(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return origin is Union or origin is types.UnionType


def _item_hints(hint: Any, count: int) -> list[Any]:
    """Answer the annotations of an array's items."""
    origin = typing.get_origin(hint) or hint
    if isinstance(origin, type) and hasattr(origin, "_fields"):
        hints = _hints(origin)
        fields: Sequence[str] = getattr(origin, "_fields")  # noqa: B009
        found = [hints.get(name, Any) for name in fields]
        return (found + [Any] * count)[:count]
    arguments = typing.get_args(hint)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return (list(arguments) + [Any] * count)[:count]
    return [arguments[0] if arguments else Any] * count


def _is_model(kind: type[Any]) -> bool:
    pydantic: Any = sys.modules.get("pydantic")  # a model of it cannot exist before it does
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


# --- words for errors ---------------------------------------------------------------


def _misfit(value: Any, kind: type, path: str) -> PayloadError:
    return PayloadError(path, f"{_json_name(value)} does not make {name_of(kind)}")


def _json_name(value: Any) -> str:
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, (list, dict)):
        return "an array" if isinstance(value, list) else "an object"
    return "null" if value is None else str(value)


def name_of(kind: type) -> str:
    name = kind.__name__
    return f"{'an' if name[:1] in 'AEIOaeiou' else 'a'} {name}"


def _show(hint: Any) -> str:
    return str(hint).replace("typing.", "")


def member(path: str, key: object) -> str:
    text = str(key)
    return f"{path}.{text}" if text.isidentifier() else f"{path}[{json.dumps(text)}]"
