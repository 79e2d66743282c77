"""Values and errors cross between Python processes as they were sent, or are refused by path."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

import pytest
from crash_stage import PATIENCE, Stage, code
from workflows import (
    ActivityError,
    ExecutionFailed,
    Handle,
    PayloadError,
    activity,
    job,
    set_state,
    step,
    wait_for_signal,
    workflow,
)
from workflows._operations import Operation


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


# A payload may be 128 deep, and arguments and results have a list around the value here.
DEEPEST = 126

VALUES: dict[str, Any] = {
    "unicode": "e\u0301 \u202e \U0001f600 \u2028\u2029 \ufeff \u00fc \u4f60\u597d",
    "controls": '\x00 \x01 \x1f \x7f \b\f\n\r\t " \\ \\u0000',
    "nul": "a\x00b",
    "lone surrogates": ["\ud800", "x\udfffy", "\udc00\ud800"],
    "odd keys": {"": 1, "\x00": 2, "\ud800": 3, "__proto__": 4, "a.b[0]": 5},
    "order of keys": {"z": 1, "a": 2, "m": 3},
    "null against missing": [None, {"a": None}, {}, [], [None]],
    "deep nesting": nested(DEEPEST),
    "integers": [2**53 + 1, -(2**53) - 1, 2**63, -(2**63) - 1, 10**30, -(10**4000), 0],
    "doubles": [-0.0, 0.1 + 0.2, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e22],
    "booleans are no integers": [True, 1, False, 0, 1.0],
    "long text": "\u00fc\x00" * 60_000,
}


async def test_plain_values_come_back_as_they_were_sent(stage: Stage) -> None:
    """O12: as argument, keyword, result, signal, state, and through an activity and a step."""
    with code() as functions:

        @job(retries=0)
        async def echo(value: Any, *, keyword: Any = "missing") -> list[Any]:
            return [value, keyword]

        @activity(retries=0)
        async def beyond(value: Any) -> Any:
            return value

        @step(retries=0)
        async def within(value: Any) -> Any:
            return value

        @workflow
        async def carries(value: Any) -> Any:
            set_state(value)
            value = await within.run(await beyond.run(value))
            return [value, await wait_for_signal("value")]

    async def same(value: Any) -> None:
        echoed = await stage.queue(echo, value, keyword=value)
        carried = await stage.queue(carries, value)
        await carried.signal("value", value)
        assert repr(await echoed.result(PATIENCE)) == repr([value, value])
        assert repr(await carried.result(PATIENCE)) == repr([value, value])
        assert repr((await stage.get(carried)).get("state")) == repr(value)

    async with stage.serving(functions, warm=0):
        await asyncio.gather(*map(same, VALUES.values()))


async def test_an_argument_that_is_missing_is_not_one_that_is_none(stage: Stage) -> None:
    """O12: the default of the code that runs counts, and None is None."""
    with code() as functions:

        @job
        async def tells(a: Any, b: Any = "default b", *, c: Any = "default c") -> list[Any]:
            return [a, b, c]

    async with stage.serving(functions):
        for call, told in {
            await stage.queue(tells, None): [None, "default b", "default c"],
            await stage.queue(tells, 1, None, c=None): [1, None, None],
            await stage.queue(tells, 1, c=2): [1, "default b", 2],
        }.items():
            assert await call.result(PATIENCE) == told


class Colour(Enum):
    RED = "red"


@dataclass
class Line:
    sku: str
    price: Decimal
    note: str | None = None


@dataclass
class Order:
    id: UUID
    at: datetime
    day: date
    colour: Colour
    lines: list[Line] = field(default_factory=list[Line])


DATES = [
    datetime(2026, 3, 29, 2, 30, 15, 123456, tzinfo=UTC),
    datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=-9, minutes=-30))),
    datetime(1, 1, 1),
    datetime(9999, 12, 31, 23, 59, 59, 999999),
    datetime(2026, 10, 25, 2, 30, fold=1),
]


async def test_dates_and_what_annotations_describe_arrive_as_sent(stage: Stage) -> None:
    """O12: instants with their offsets and microseconds, days, dataclasses, numbers of Decimal."""
    order = Order(UUID(int=7), DATES[0], date(2026, 2, 28), Colour.RED)
    order.lines += [Line("a", Decimal("1.10")), Line("b", Decimal("-0.000")), Line("c", Decimal(1))]
    with code() as functions:

        @activity
        async def days(instants: list[datetime], day: date) -> dict[str, datetime]:
            assert all(type(each) is datetime for each in instants)
            assert type(day) is date
            return {str(n): each for n, each in enumerate(instants)}

        @workflow
        async def carries(order: Order) -> tuple[Order, list[datetime]]:
            assert isinstance(order.lines[0].price, Decimal)
            found = await days.run(DATES, order.day)
            assert await wait_for_signal("order", Order) == order
            return order, list(found.values())

    async with stage.serving(functions):
        handle = await stage.queue(carries, order)
        await handle.signal("order", json.loads(SIGNALLED))
        found, instants = await handle.result(PATIENCE)
    assert found == order
    assert repr(found) == repr(order)
    assert [each.isoformat() for each in instants] == [each.isoformat() for each in DATES]


# What the order above is on the wire, as another sender would write it.
SIGNALLED = """{
    "id": "00000000-0000-0000-0000-000000000007",
    "at": "2026-03-29T02:30:15.123456+00:00", "day": "2026-02-28", "colour": "red",
    "lines": [
        {"sku": "a", "price": "1.10", "note": null},
        {"sku": "b", "price": "-0.000"}, {"sku": "c", "price": "1"}
    ]
}"""


class Declined(Exception):
    def __init__(self, message: str, details: Mapping[str, Any]):
        super().__init__(message)
        self.details = details


async def test_errors_arrive_with_the_type_message_and_details_that_were_sent(
    stage: Stage,
) -> None:
    """O12: from an activity to its workflow, and from there to the caller, causes included."""
    message = "no funds: \u00fc \x00 \ud800 \U0001f600"
    details: dict[str, Any] = {"card": "4242", "cents": 2**53 + 1, "why": [None, "\x00"]}
    with code() as functions:

        @activity(retries=0)
        async def declines() -> None:
            raise Declined(message, details) from LookupError("nothing \x00 there")

        @workflow
        async def tells() -> list[Any]:
            try:
                await declines.run()
            except ActivityError as error:
                cause = cast("Any", error.__cause__).__cause__
                return [error.type, error.message, error.details, cause.type, cause.message]
            return []

        @workflow
        async def passes_on() -> None:
            await declines.run()

    async with stage.serving(functions):
        told = await (await stage.queue(tells)).result(PATIENCE)
        assert told == ["Declined", message, details, "LookupError", "nothing \x00 there"]
        with pytest.raises(ExecutionFailed) as caught:
            await (await stage.queue(passes_on)).result(PATIENCE)
        declined = cast("Any", caught.value.__cause__).__cause__
        assert (declined.type, declined.message, declined.details) == ("Declined", message, details)


# --- what cannot be held --------------------------------------------------------------------------

REFUSED: dict[str, tuple[Any, str]] = {
    "NaN": ({"a": [1, math.nan]}, ".a[1]"),
    "Infinity": ([math.inf], "[0]"),
    "-Infinity": ([[-math.inf]], "[0][0]"),
    "1e400": ({"a b": float("1e400")}, '["a b"]'),
    "a key that is an integer": ({"a": {1: 2}}, ".a"),
    "a key that is None": ([{None: 2}], "[0]"),
    "a key that is a boolean": ({True: 2}, ""),
    "a key that is a tuple": ({"a": {(1, 2): 2}}, ".a"),
    "bytes": ([b"x"], "[0]"),
    "a set": ({"a": {1}}, ".a"),
    "too deep": (nested(130), "[0]" * 128),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_json_cannot_hold_is_refused_where_it_is_sent(stage: Stage, what: str) -> None:
    """O12: by the path of the value, as argument, keyword and signal, and nothing is sent."""
    value, path = REFUSED[what]
    with code():

        @workflow
        async def takes(value: Any = None, *, keyword: Any = None) -> None: ...

    handle = await stage.queue(takes)
    calls = {
        f"args[0]{path}": stage.queue(takes, value),
        f"kwargs.keyword{path}": stage.queue(takes, keyword=value),
        f"payload{path}": handle.signal("go", value),
    }
    for where, call in calls.items():
        with pytest.raises(PayloadError) as caught:
            await call
        assert caught.value.path == where
        assert caught.value.code == "invalid_payload"
    assert len((await stage.client.list())["executions"]) == 1
    assert (await stage.get(handle))["history_length"] == 0


async def test_what_json_cannot_hold_fails_the_execution_whose_code_has_it(stage: Stage) -> None:
    """O12: by the path of the value, as result, and as argument or state inside a workflow."""
    with code() as functions:

        @job
        async def answers(what: str) -> Any:
            return REFUSED[what][0]

        @workflow
        async def passes(what: str) -> None:
            await answers.run(REFUSED[what][0])

        @workflow
        async def publishes(what: str) -> None:
            set_state(REFUSED[what][0])

    async with stage.serving(functions):
        for what, (_, path) in REFUSED.items():
            for function, where in ((answers, "result"), (passes, "args[0]"), (publishes, "state")):
                handle = await stage.queue(function, what)
                with pytest.raises(ExecutionFailed) as caught:
                    await handle.result(PATIENCE)
                assert caught.value.type == "PayloadError", what
                assert caught.value.message.startswith(f"{where}{path}: "), caught.value.message
                assert (await stage.get(handle))["attempts"] == 1, "it is not tried again"


async def raw(stage: Stage, operation: Operation, body: str) -> Any:
    """Ask with JSON that Python would not write, as another language may."""
    reply = json.loads(await stage.client.engine.channel().submit(operation, body.encode()))
    return reply["ok"]


async def test_numbers_that_python_cannot_hold_are_refused_where_they_arrive(stage: Stage) -> None:
    """O12: 1e400 is no infinity; as argument, signal and result, in the one execution it is of."""
    with code() as functions:

        @job(name="takes", retries=0)
        async def takes(value: Any) -> Any:
            return value

        @workflow
        async def waits() -> Any:
            return await wait_for_signal("go")

        @job(queue="elsewhere")
        async def elsewhere() -> Any: ...

    async def refusal(id: str) -> str:
        with pytest.raises(ExecutionFailed) as caught:
            await Handle[Any](id, client=stage.client).result(PATIENCE)
        assert caught.value.type == "PayloadError"
        return caught.value.message

    async with stage.serving(functions):
        items = ",".join(
            f'{{"kind": "job", "name": "{takes.name}", "args": [{argument}]}}'
            for argument in ('{"a": [1, 1e400]}', "1e308", "-1E+999")
        )
        created = await raw(stage, Operation.CREATE_EXECUTION, f'{{"items": [{items}]}}')
        ids = [each["id"] for each in created["results"]]
        assert (await refusal(ids[0])).startswith("args[0].a[1]: 1e400")
        assert (await refusal(ids[2])).startswith("args[0]: -1E+999")
        assert await Handle[Any](ids[1], client=stage.client).result(PATIENCE) == 1e308

        waiting = await stage.queue(waits)
        signal = f'{{"id": "{waiting.id}", "name": "go", "payload": {{"b": 1e400}}}}'
        await raw(stage, Operation.SEND_SIGNAL, f'{{"items": [{signal}]}}')
        assert (await refusal(waiting.id)).startswith("payload.b: 1e400")

    handle = await stage.queue(elsewhere)
    await answer_elsewhere(stage, handle, '{"c": [0, 1e400]}')
    with pytest.raises(PayloadError) as refused:
        await handle.result(PATIENCE)
    assert refused.value.path == "result.c[1]"


async def answer_elsewhere(stage: Stage, handle: Handle[Any], result: str) -> None:
    """Be a worker of another language, which completes with this text."""
    call = stage.client.engine.channel().call
    started = await call(Operation.START_WORKER, {"queues": ["elsewhere"], "language": "other"})
    claim = {"worker_id": started["worker_id"], "n": 1, "wait_ms": 10_000}
    [claimed] = (await call(Operation.CLAIM, claim))["executions"]
    assert claimed["id"] == handle.id
    lease = json.dumps(claimed["lease"])
    item = f'{{"id": "{handle.id}", "lease": {lease}, "result": {result}}}'
    await raw(stage, Operation.COMPLETE_EXECUTION, f'{{"items": [{item}]}}')
    await call(Operation.STOP_WORKER, {"worker_id": started["worker_id"]})
