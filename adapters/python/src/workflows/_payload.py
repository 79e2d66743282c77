"""Python values as JSON and back, never changed in silence.

What crosses the wire is plain JSON: None, bool, int of any size, finite float, str
(lone surrogates and NUL too), list, tuple (which comes back as a list unless an
annotation says otherwise) and dict with keys that are str. NaN, infinities, other
keys, bytes, sets and all other types are refused with a PayloadError that names the
path.

What else an annotation can bring back is listed in `_annotations`.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from json import encoder as _json_encoder
from typing import Any, NoReturn, cast

from ._annotations import MAX_DEPTH, SCALARS, lift, lower, may_change, member, name_of, type_of
from ._annotations import type_hints as type_hints
from ._errors import PayloadError

# --- text ---------------------------------------------------------------------------


def _encoder() -> Callable[[Any], str]:
    make: Any = getattr(_json_encoder, "c_make_encoder", None)
    if make is None:
        return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
    # json.dumps makes an encoder at each call, which costs as much as a small value
    strings = cast("Any", _json_encoder).encode_basestring
    encode: Any = make(None, _refuse, strings, None, ":", ",", False, False, False)
    return lambda value: "".join(encode(value, 0))


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"{name_of(type_of(value))} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise OverflowError(text)
    return value


def _no_constant(text: str) -> NoReturn:
    raise OverflowError(text)


_encode_text = _encoder()
_decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)
_scan: Callable[[str, int], tuple[Any, int]] = cast("Any", _decoder).scan_once


def dumps(value: Any, *, annotation: Any = Any, path: str = "$") -> str:
    """Write a value as JSON.

    The text can always be encoded as UTF-8: lone surrogates are escaped. What the
    other side reads equals what was given, or it is refused here.

    Args:
        value: what to write.
        annotation: the type that the other side will read it as.
        path: how to call the value in an error.

    Raises:
        PayloadError: the value, or something in it, cannot be written.

    Example:
        >>> dumps({"a": [1, 2.5, None]})
        '{"a":[1,2.5,null]}'
        >>> dumps({"a": [float("nan")]}, path="args[0]")
        Traceback (most recent call last):
        workflows.PayloadError: args[0].a[0]: nan is not JSON
    """
    value = plain(value, annotation, path=path)
    try:
        text = _encode_text(value)
    except (ValueError, OverflowError, TypeError) as error:
        _explain(value, error, path)
    return text if text.isascii() else encoded(text).decode()


def dump_request(request: Any) -> bytes:
    """Write a whole request, whose payloads `plain` has seen, as UTF-8 JSON.

    Raises:
        PayloadError: something in it cannot be written.
    """
    try:
        text = _encode_text(request)
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        _explain(request, error, "$")
    return text.encode(errors="backslashreplace")  # as `encoded` does, without the call


def encode(value: Any, path: str = "$") -> str:
    """Write what `plain` has seen as a part of a request, for `encoded` to make bytes of.

    Raises:
        PayloadError: something in it cannot be written.
    """
    if value is None:
        return "null"
    try:
        # An int, as the result of many a body, is written so by the encoder, too.
        return repr(value) if type(value) is int else _encode_text(value)
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        _explain(value, error, path)


def encoded(json_text: str) -> bytes:
    """Encodes JSON; a lone surrogate as its escape, and nothing else longer than it need be."""
    return json_text.encode(errors="backslashreplace")  # writes \ud800, as JSON does


def loads(text: str | bytes) -> Any:
    """Read JSON; the inverse of `dumps`.

    Raises:
        PayloadError: it is not JSON, or it holds a number that Python cannot, such as
            1e400, which would silently become infinity.

    Example:
        >>> loads('{"n": 123456789012345678901234567890}')
        {'n': 123456789012345678901234567890}
        >>> loads('{"n": [1e400]}')
        Traceback (most recent call last):
        workflows.PayloadError: $.n[0]: 1e400 is too large for a Python float
    """
    try:
        if not isinstance(text, str):
            text = text.decode()
        return _decoder.decode(text)
    except (ValueError, OverflowError, RecursionError) as error:
        for path, number in _oversized(_loads_marked(text, error), "$"):
            raise PayloadError(path, number.reason) from None
        raise PayloadError("$", f"it is not JSON: {error}") from None


def _explain(value: Any, error: Exception, path: str) -> NoReturn:
    """Raise a PayloadError for what the encoder choked on."""
    lower(value, Any, path, MAX_DEPTH + 8)
    for where, number in _huge(value, path):
        raise PayloadError(where, f"an int of {number.bit_length()} bits: {error}") from None
    raise PayloadError(path, str(error)) from None


def _huge(value: Any, path: str) -> Iterable[tuple[str, int]]:
    if isinstance(value, int):
        try:
            str(value)
        except ValueError:
            yield path, value
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[str, Any]", value).items():
            yield from _huge(item, member(path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("Sequence[Any]", value)):
            yield from _huge(item, f"{path}[{index}]")


# --- replies ------------------------------------------------------------------------

_PAYLOADS = frozenset({"args", "kwargs", "result", "error", "progress", "state", "payload"})


class Unreadable:
    """Stands in a reply for a payload that Python cannot hold.

    Only the execution that it belongs to is to fail, not the batch around it: so a
    PayloadError is raised by whoever looks into it.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason

    def __repr__(self) -> str:
        return f"<unreadable: {self.path}: {self.reason}>"

    def _raise(self, *_: object) -> NoReturn:
        raise PayloadError(self.path, self.reason)

    __iter__ = __len__ = __getitem__ = __contains__ = __bool__ = _raise
    keys = values = items = get = _raise


@dataclasses.dataclass(frozen=True)
class _Oversized:
    """A number that Python cannot hold."""

    text: str
    reason: str


def load_reply(text: str) -> Any:
    """Read a reply of the library; payloads that Python cannot hold become Unreadable."""
    try:
        return _scan(text, 0)[0]  # without the checks around it that decode() has
    except (ValueError, OverflowError, StopIteration) as error:
        return _without_oversized(_loads_marked(text, error))


_splitter = json.JSONDecoder(parse_float=str, parse_int=str)


def split_array(text: str) -> list[str]:
    """Cut the text of a JSON array into the texts of its items.

    Example:
        >>> split_array('[{"a":1}, 2.50]')
        ['{"a":1}', '2.50']
    """
    items: list[str] = []
    start = text.index("[") + 1
    while True:
        while text[start] in " \t\r\n,":
            start += 1
        if text[start] == "]":
            return items
        _, end = _splitter.raw_decode(text, start)
        items.append(text[start:end])
        start = end


def _loads_marked(text: str | bytes, error: Exception) -> Any:
    def read_float(number: str) -> Any:
        value = float(number)
        return value if math.isfinite(value) else marker(number, "too large for a Python float")

    def read_int(number: str) -> Any:
        try:
            return int(number)
        except ValueError:
            return marker(number, "longer than sys.get_int_max_str_digits() allows")

    def marker(number: str, reason: str) -> _Oversized:
        shown = number if len(number) <= 40 else f"{number[:20]}...{number[-10:]}"
        return _Oversized(number, f"{shown} is {reason}")

    def read_constant(name: str) -> Any:
        return marker(name, "not JSON")

    try:
        return json.loads(
            text, parse_float=read_float, parse_int=read_int, parse_constant=read_constant
        )
    except (ValueError, RecursionError):
        raise PayloadError("$", f"it is not JSON: {error}") from None


def _oversized(value: Any, path: str) -> Iterable[tuple[str, _Oversized]]:
    if isinstance(value, _Oversized):
        yield path, value
    elif isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            yield from _oversized(item, member(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _oversized(item, f"{path}[{index}]")


def _without_oversized(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_oversized(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found = cast("dict[str, Any]", value)
    for key, item in found.items():
        if key not in _PAYLOADS:
            found[key] = _without_oversized(item)
            continue
        for path, number in _oversized(item, key):
            found[key] = Unreadable(path, number.reason)
            break
    return found


# --- values to JSON -----------------------------------------------------------------


_ATOMS = frozenset({str, int, bool, type(None)})


def plain(value: Any, annotation: Any = Any, *, path: str = "$") -> Any:
    """Answer the plain JSON value that stands for a value: itself, if it is one already.

    Args:
        value: what is to be sent.
        annotation: the type that the other side will read it as.
        path: how to call the value in an error.

    Raises:
        PayloadError: it, or something in it, is not JSON and the annotation could not
            bring it back.

    Example:
        >>> from uuid import UUID
        >>> plain(UUID(int=7), UUID)
        '00000000-0000-0000-0000-000000000007'
        >>> plain({1: "one"})
        Traceback (most recent call last):
        workflows.PayloadError: $: the key 1 is an int; JSON has only text keys
    """
    if type(value) in _ATOMS or _native(value, MAX_DEPTH):
        return value
    return lower(value, annotation, path, MAX_DEPTH)


def _native(value: Any, depth: int) -> bool:
    # The C encoder alone would not do: it turns the key 1 into "1" and an IntEnum into its number.
    kind = type_of(value)
    if kind in SCALARS:
        return kind is not float or math.isfinite(value)
    if depth == 0:
        return False
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return False
        items: Iterable[Any] = value.values()
    elif kind is list or kind is tuple:
        items = value
    else:
        return False
    for item in items:
        kind = type_of(item)
        if kind is float:
            if not math.isfinite(item):
                return False
        elif kind not in SCALARS and not _native(item, depth - 1):
            return False
    return True


# --- JSON to values -----------------------------------------------------------------


def adapt(value: Any, annotation: Any, *, path: str = "$") -> Any:
    """Rebuild what an annotation describes from plain JSON; the inverse of `plain`.

    With Any, no annotation, or one that says nothing more than JSON does, the value
    comes back as it is.

    Args:
        value: plain JSON.
        annotation: a type, such as `list[Order]`.
        path: how to call the value in an error.

    Raises:
        PayloadError: the value does not fit, or it is a number that Python cannot hold.

    Example:
        >>> from datetime import date
        >>> adapt("2026-01-31", date)
        datetime.date(2026, 1, 31)
    """
    if isinstance(value, Unreadable):
        raise PayloadError(value.path, value.reason)
    try:
        adapts = may_change(annotation)
    except TypeError:  # an annotation that cannot be hashed
        adapts = True
    return lift(value, annotation, path) if adapts else value


# --- arguments ----------------------------------------------------------------------


def normalise(
    signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Sort arguments as the wire has them: only keyword-only ones stay keywords.

    So `f(1, b=2)` and `f(1, 2)` are the same call, and a function in a language
    without keywords can be called by name. Defaults after the last given argument
    are left to the function's own code, as it is when it runs.

    Args:
        signature: the function's, without `self`.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.

    Raises:
        TypeError: the arguments do not fit the signature, as in a plain call.

    Example:
        >>> def f(a, b=2, *, c=3): ...
        >>> normalise(inspect.signature(f), [], {"b": 5, "a": 1, "c": 4})
        ([1, 5], {'c': 4})
    """
    if not kwargs and not signature.parameters:
        if args:
            signature.bind(*args)
        return [], {}
    bound = signature.bind(*args, **kwargs).arguments
    positional: list[Any] = []
    named: dict[str, Any] = {}
    skipped: list[Any] = []
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional.extend(bound.get(name, ()))
        elif parameter.kind is parameter.VAR_KEYWORD:
            named.update(bound.get(name, {}))
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if name in bound:
                named[name] = bound[name]
        elif name in bound:
            positional += [*skipped, bound[name]]
            skipped = []
        else:
            skipped.append(parameter.default)
    return positional, named


def plain_arguments(
    signature: inspect.Signature,
    hints: Mapping[str, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> tuple[list[Any], dict[str, Any]]:
    """Normalise arguments and make plain JSON of them, each by its annotation.

    Raises:
        TypeError: the arguments do not fit the signature.
        PayloadError: one of them is not JSON; the path is such as `args[0].price`.
    """
    positional, named = normalise(signature, args, kwargs)
    if _native(positional, MAX_DEPTH) and _native(named, MAX_DEPTH):
        return positional, named
    of = _parameter_hints(signature, hints, len(positional))
    rest = _rest_hint(signature, hints)
    return (
        [plain(value, of[index], path=f"args[{index}]") for index, value in enumerate(positional)],
        {
            name: plain(value, hints.get(name, rest), path=f"kwargs.{name}")
            for name, value in named.items()
        },
    )


def adapt_arguments(
    signature: inspect.Signature,
    hints: Mapping[str, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> tuple[list[Any], dict[str, Any]]:
    """Rebuild arguments that came as plain JSON, each by its annotation.

    Raises:
        PayloadError: one of them does not fit.
    """
    if isinstance(args, Unreadable):
        adapt(args, Any)
    if isinstance(kwargs, Unreadable):
        adapt(kwargs, Any)
    of = _parameter_hints(signature, hints, len(args))
    rest = _rest_hint(signature, hints)
    return (
        [adapt(value, of[index], path=f"args[{index}]") for index, value in enumerate(args)],
        {
            name: adapt(value, hints.get(name, rest), path=f"kwargs.{name}")
            for name, value in kwargs.items()
        },
    )


def _parameter_hints(
    signature: inspect.Signature, hints: Mapping[str, Any], count: int
) -> list[Any]:
    found: list[Any] = []
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            found.append(hints.get(name, Any))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            found += [hints.get(name, Any)] * (count - len(found))
    return found + [Any] * (count - len(found))


def _rest_hint(signature: inspect.Signature, hints: Mapping[str, Any]) -> Any:
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            return hints.get(name, Any)
    return Any
