"""Payloads: what is JSON crosses unchanged, what is not is refused by its path."""

from __future__ import annotations

import enum
import inspect
import json
import math
import random
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict
from uuid import UUID

import pytest
import workflows._payload as payload
from pydantic import BaseModel, Field
from workflows import PayloadError

CORPUS: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**53 - 1,
    2**53 + 1,
    -(2**63),
    2**64,
    10**30,
    0.1 + 0.2,
    5e-324,
    1.7976931348623157e308,
    -0.0,
    1e22,
    "",
    "plain",
    "\x00",
    "a\x00b",
    "\\u0000",
    "\ud800",
    "\udfff lone",
    "\U0001f600",
    "\u2028\u2029\ufeff",
    "\u00e9 and e\u0301",
    "\u05d0\u202e",
    "<>&'\"/\\\b\f\n\r\t\x7f",
    [],
    {},
    [[]],
    [None],
    {"": ""},
    {"a": None},
    {"__proto__": 1, "constructor": 2, "toString": 3},
    {"\x00": 1, "\ud800": 2, "a.b": 3, 'q"': 4, "k" * 10_000: 5},
    {"z": 1, "a": 2},
    ["x" * 100_000],
]


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize("value", [*CORPUS, nested(128)], ids=lambda value: repr(value)[:40])
def test_what_is_json_comes_back_equal(value: Any) -> None:
    text = payload.dumps(value)
    text.encode()  # never fails, lone surrogates included
    back = payload.loads(text)
    assert repr(back) == repr(value)
    assert payload.dump_request({"payload": value}).decode()
    [item] = payload.load_reply(f'[{{"token":1,"ok":{text}}}]')
    assert repr(item["ok"]) == repr(value)


def test_a_pair_of_surrogates_comes_back_as_the_character_that_json_means_by_it() -> None:
    assert payload.loads(payload.dumps("\ud83d\ude00")) == "\U0001f600"


def test_a_million_random_doubles_come_back_bit_for_bit() -> None:
    seed = random.Random(7)
    doubles = [
        value
        for value in struct.unpack("<200000d", seed.randbytes(1_600_000))
        if math.isfinite(value)
    ]
    for _ in range(5):
        assert payload.loads(payload.dumps(doubles)) == doubles
        seed.shuffle(doubles)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Line:
    sku: str
    price: Decimal
    note: str | None = None


@dataclass
class Order:
    id: UUID
    at: datetime
    lines: list[Line]
    colour: Colour = Colour.RED
    tags: dict[str, date] = field(default_factory=dict[str, date])


class Point(NamedTuple):
    x: int
    on: date


class Address(TypedDict):
    street: str
    since: date


class Model(BaseModel):
    id: UUID
    when: datetime
    amount: Decimal = Field(alias="Amount")
    order: Order | None = None


CYCLE: list[Any] = []
CYCLE.append(CYCLE)

REFUSED: list[tuple[Any, str, str]] = [
    (math.nan, "$", "nan"),
    ([1, {"a": math.inf}], "$[1].a", "inf"),
    ({"a": [0, -math.inf]}, "$.a[1]", "-inf"),
    ({1: "x"}, "$", "the key 1 is an int"),
    ({"a": {None: 1}}, "$.a", "the key None"),
    ({"a": {True: 1}}, "$.a", "the key True"),
    ({"a": {1.5: 1}}, "$.a", "the key 1.5"),
    ({"a": {("t",): 1}}, "$.a", "the key"),
    ({Colour.RED: 1}, "$", "the key"),
    (b"x", "$", "bytes"),
    ([bytearray(b"x")], "$[0]", "bytearray"),
    ({"a b": {1, 2}}, '$["a b"]', "a set"),
    ([frozenset()], "$[0]", "a set"),
    ([object()], "$[0]", "an object"),
    ([lambda: 0], "$[0]", "a function"),
    ([1j], "$[0]", "a complex"),
    ([Colour.RED], "$[0]", "annotate it as Colour"),
    ([Level.LOW], "$[0]", "annotate it as Level"),
    (datetime(2026, 1, 1), "$", "annotate it as datetime"),
    ([UUID(int=1)], "$[0]", "annotate it as UUID"),
    ([Decimal(1)], "$[0]", "annotate it as Decimal"),
    ([timedelta(1)], "$[0]", "a timedelta"),
    ([Line("a", Decimal(1))], "$[0]", "annotate it as Line"),
    ([Point(1, date(2026, 1, 1))], "$[0]", "annotate it as Point"),
    ([Model(id=UUID(int=1), when=datetime(2026, 1, 1), Amount=Decimal(1))], "$[0]", "Model"),
    (nested(129), "$" + "[0]" * 128, "deeper than 128"),
    (CYCLE, "$" + "[0]" * 128, "contains itself"),
    ([[10**5000]], "$[0][0]", "bits"),
]


@pytest.mark.parametrize(
    ("value", "path", "reason"), REFUSED, ids=[f"{path[:20]} {why}" for _, path, why in REFUSED]
)
def test_what_is_not_json_is_refused_by_its_path(value: Any, path: str, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        payload.dumps(value)
    assert caught.value.path == path
    assert reason in caught.value.reason


def test_an_await_that_was_forgotten_is_asked_for() -> None:
    async def f() -> None: ...

    coroutine = f()
    with pytest.raises(PayloadError, match="was an `await` forgotten"):
        payload.dumps([coroutine])
    coroutine.close()


@pytest.mark.parametrize("value", [math.nan, 10**5000, object()], ids=["nan", "huge", "object"])
def test_a_request_is_refused_by_the_path_of_what_is_wrong_in_it(value: Any) -> None:
    with pytest.raises(PayloadError) as caught:
        payload.dump_request({"items": [{"result": [value]}]})
    assert caught.value.path == "$.items[0].result[0]"


def test_harmless_subclasses_go_as_what_they_are() -> None:
    class Text(str):
        pass

    class Number(float):
        pass

    value: Any = {"a": Text("x"), "b": Number(1.5), "c": OrderedDict[str, int](d=1)}
    assert payload.loads(payload.dumps(value)) == {"a": "x", "b": 1.5, "c": {"d": 1}}
    assert payload.dumps((1, (2,))) == "[1,[2]]"


ORDER = Order(
    id=UUID(int=7),
    at=datetime(2026, 1, 31, 12, 30, 1, 7, tzinfo=UTC),
    lines=[Line("a", Decimal("1.10")), Line("b", Decimal("2.20"), "gift")],
    tags={"x": date(2026, 2, 1)},
)
Sku = NewType("Sku", str)

ANNOTATED: list[tuple[Any, Any]] = [
    (ORDER, Order),
    ([ORDER], list[Order]),
    ([ORDER], Sequence[Order]),
    ({"a": ORDER}, dict[str, Order]),
    ({"a": ORDER}, Mapping[str, Order]),
    (ORDER, Order | None),
    (None, Order | None),
    (None, Optional[Order]),  # noqa: UP045
    (ORDER, Annotated[Order, "doc"]),
    (ORDER.lines[0], Order | Line),
    ((1, date(2026, 1, 1)), tuple[int, date]),
    ((1, 2, 3), tuple[int, ...]),
    ((), tuple[int, ...]),
    ((1, "a"), tuple),
    (Point(1, date(2026, 1, 1)), Point),
    ({"street": "s", "since": date(2026, 1, 1)}, Address),
    (time(12, 30), time),
    (Decimal("0.10"), Decimal),
    (Colour.RED, Colour),
    (Level.LOW, Level),
    ([Colour.RED, None], list[Colour | None]),
    ("red", Literal["red", "blue"]),
    ("s", Sku),
    ("2026-01-01", str | date),
    (7, int | Order),
    (1, float | UUID),
    (Model(id=UUID(int=1), when=ORDER.at, Amount=Decimal("1.5"), order=ORDER), Model),
    (
        [Model(id=UUID(int=1), when=ORDER.at, Amount=Decimal("1.5"))],
        list[Model | None],
    ),
]


@pytest.mark.parametrize(("value", "annotation"), ANNOTATED, ids=lambda value: str(value)[:40])
def test_what_an_annotation_can_bring_back_comes_back_equal(value: Any, annotation: Any) -> None:
    text = payload.dumps(value, annotation=annotation)
    json.loads(text)
    back = payload.adapt(payload.loads(text), annotation)
    assert back == value
    assert type(back) is type(value)


def test_what_would_come_back_as_something_else_is_refused() -> None:
    with pytest.raises(PayloadError, match="would not come back"):
        payload.dumps(date(2026, 1, 1), annotation=str | date)
    with pytest.raises(PayloadError, match="annotate it as Line"):
        payload.dumps(ORDER.lines[0], annotation=Order)

    class Special(Order):
        pass

    special = Special(ORDER.id, ORDER.at, [])
    with pytest.raises(PayloadError, match="annotate it as Special"):
        payload.dumps(special, annotation=Order)


@pytest.mark.parametrize(
    ("value", "annotation", "path"),
    [
        ({"sku": "a"}, Line, "$.price"),
        ({"sku": "a", "price": "dear"}, Line, "$.price"),
        ([{"sku": "a", "price": "1"}, 7], list[Line], "$[1]"),
        ("x", UUID, "$"),
        (7, datetime, "$"),
        ("green", Colour, "$"),
        ([1], Point, "$"),
        ("text", tuple[int, ...], "$"),
        ({"since": "never"}, Address, "$.since"),
        ({"id": "x"}, Model, "$.id"),
        ({"nothing": 1}, Order | Line, "$.sku"),
    ],
    ids=str,
)
def test_what_does_not_fit_its_annotation_is_refused_by_its_path(
    value: Any, annotation: Any, path: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        payload.adapt(value, annotation)
    assert caught.value.path == path


def test_a_field_that_was_removed_from_a_dataclass_keeps_old_payloads_readable() -> None:
    old = {"sku": "a", "price": "1", "removed": True}
    assert payload.adapt(old, Line) == Line("a", Decimal(1))
    assert payload.adapt(old, Line | None) == Line("a", Decimal(1))


def test_an_annotation_rebuilds_and_does_not_validate() -> None:
    value = ["text", 7]
    assert payload.adapt(value, list[int]) is value
    assert payload.adapt(value, Any) is value
    assert payload.adapt(value, inspect.Parameter.empty) is value


def test_a_name_that_only_exists_for_type_checkers_does_not_hide_the_others() -> None:
    def ship(a: Any, b: date) -> None: ...

    ship.__annotations__["a"] = "Missing"
    assert payload.type_hints(ship) == {"b": date, "return": type(None)}


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ('{"a":[1e400]}', "$.a[0]", "1e400 is too large"),
        ("-1e400", "$", "-1e400"),
        ("[NaN]", "$[0]", "NaN is not JSON"),
        ("[-Infinity]", "$[0]", "not JSON"),
        ("[" + "9" * 5000 + "]", "$[0]", "longer than"),
        ("{", "$", "not JSON"),
        ("", "$", "not JSON"),
        ("[1] x", "$", "not JSON"),
        ("[" * 100_000, "$", "not JSON"),
        (b"\xff", "$", "not JSON"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_text_that_python_cannot_hold_is_refused_by_its_path(
    text: str | bytes, path: str, reason: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        payload.loads(text)
    assert caught.value.path == path
    assert reason in caught.value.reason


def test_one_unreadable_payload_does_not_spoil_the_batch_around_it() -> None:
    [reply] = payload.load_reply(
        '[{"token":1,"ok":{"executions":['
        '{"id":"a","args":[1e400],"kwargs":{"x":[1]}},'
        '{"id":"b","args":[2],"kwargs":{"x":{"y":1e999}}}]}}]'
    )
    bad, good = reply["ok"]["executions"]
    assert (bad["id"], bad["kwargs"], good["args"]) == ("a", {"x": [1]}, [2])

    def adapted(value: Any) -> Any:
        return payload.adapt(value, Any)

    looks: list[Callable[[Any], Any]] = [list, len, bool, adapted]
    for look in looks:
        with pytest.raises(PayloadError, match=r"args\[0\]: 1e400"):
            look(bad["args"])
    with pytest.raises(PayloadError, match=r"kwargs\.x\.y"):
        dict(good["kwargs"])
    signature = inspect.signature(adapted)
    with pytest.raises(PayloadError, match=r"args\[0\]"):
        payload.adapt_arguments(signature, {}, bad["args"], {})


def test_an_array_is_cut_without_changing_its_items() -> None:
    items = ['{"a":"]\\"["}', "1E2", "-0", '{"b":1,"b":2}', "1e400", "9" * 5000, "[ ]"]
    assert payload.split_array("[" + " ,\n".join(items) + "]") == items
    assert payload.split_array("[]") == []


def f(a: Any, b: Any = 2, *rest: Any, c: Any = 3, **more: Any) -> None: ...
def g(a: Any, /, b: Any = 2, c: Any = 3) -> None: ...
def h() -> None: ...


CALLS: list[tuple[Any, list[Any], dict[str, Any], Any]] = [
    (f, [1], {}, ([1], {})),
    (f, [1, 5], {}, ([1, 5], {})),
    (f, [], {"b": 5, "a": 1}, ([1, 5], {})),
    (f, [1, 5, 6, 7], {"c": 4, "z": 9}, ([1, 5, 6, 7], {"c": 4, "z": 9})),
    (f, [1], {"c": 4}, ([1], {"c": 4})),
    (g, [1], {"c": 9}, ([1, 2, 9], {})),
    (g, [1], {"b": 9}, ([1, 9], {})),
    (h, [], {}, ([], {})),
]


@pytest.mark.parametrize(("function", "args", "kwargs", "wanted"), CALLS)
def test_only_keyword_only_arguments_stay_keywords(
    function: Any, args: list[Any], kwargs: dict[str, Any], wanted: Any
) -> None:
    assert payload.normalise(inspect.signature(function), args, kwargs) == wanted
    function(*wanted[0], **wanted[1])


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [(g, [], {}), (g, [], {"a": 1}), (g, [1], {"z": 1}), (h, [1], {}), (h, [], {"a": 1})],
)
def test_arguments_that_do_not_fit_raise_as_in_a_plain_call(
    function: Any, args: list[Any], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(TypeError):
        payload.normalise(inspect.signature(function), args, kwargs)


def test_arguments_cross_by_their_annotations() -> None:
    def ship(order: Order, *days: date, express: Decimal, **notes: date) -> None: ...

    signature, hints = inspect.signature(ship), payload.type_hints(ship)
    days = [date(2026, 1, 1), date(2026, 1, 2)]
    keywords = {"express": Decimal("1.5"), "sent": days[0]}
    args, kwargs = payload.plain_arguments(signature, hints, [ORDER, *days], keywords)
    args, kwargs = json.loads(json.dumps([args, kwargs]))
    assert payload.adapt_arguments(signature, hints, args, kwargs) == ([ORDER, *days], keywords)


def test_an_argument_that_is_not_json_is_named() -> None:
    signature = inspect.signature(f)
    for args, kwargs, path in (
        ([1, {"a": math.nan}], {}, "args[1].a"),
        ([1, 2, 3, b"x"], {}, "args[3]"),
        ([1], {"c": {1}}, "kwargs.c"),
    ):
        with pytest.raises(PayloadError) as caught:
            payload.plain_arguments(signature, payload.type_hints(f), args, kwargs)
        assert caught.value.path == path


def test_what_a_model_of_pydantic_cannot_write_is_refused_by_its_path() -> None:
    class Reading(BaseModel):
        value: float = 0.0
        raw: bytes = b""

    for reading, path in (
        (Reading(value=math.nan), "$[0].value"),
        (Reading(raw=b"\xff"), "$[0]"),
    ):
        with pytest.raises(PayloadError) as caught:
            payload.dumps([reading], annotation=list[Reading])
        assert caught.value.path == path


def test_models_of_pydantic_are_not_needed_for_anything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "pydantic")
    text = payload.dumps(ORDER, annotation=Order)
    assert payload.adapt(payload.loads(text), Order) == ORDER


def test_a_lone_surrogate_makes_nothing_beside_it_longer() -> None:
    """A limit in bytes must not depend on what else is in the request."""
    written = payload.dump_request({"items": ["\ud800", "ü" * 100]})
    assert b"\\ud800" in written
    assert len(written) < 250
    assert payload.loads(written) == {"items": ["\ud800", "ü" * 100]}
