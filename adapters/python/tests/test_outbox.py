"""What a worker writes, gathered and handed in."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from workflows import WorkflowsError
from workflows._operations import Operation
from workflows._outbox import Outbox
from workflows._wire_errors import fault_to_exception

Json = dict[str, Any]
BUSY = {"code": "busy", "message": "later", "retryable": True}
LOST = {"code": "lease_lost", "message": "gone", "retryable": False}
REFUSED = {"code": "invalid_request", "message": "too odd", "retryable": False}


class Sender:
    """Answers requests as it is told to, and notes them."""

    def __init__(self, answer: Callable[[list[int]], list[Json]]) -> None:
        self.answer = answer
        self.seen: list[list[int]] = []

    def send(self, operation: Operation, request_json: bytes) -> asyncio.Future[Any]:
        assert operation is Operation.RELEASE
        numbers = [item["n"] for item in json.loads(request_json)["items"]]
        self.seen.append(numbers)
        future = asyncio.get_running_loop().create_future()
        try:
            future.set_result({"results": self.answer(numbers)})
        except WorkflowsError as error:
            future.set_exception(error)
        return future


def accepted(numbers: list[int]) -> list[Json]:
    return [{"ok": n} for n in numbers]


def sent(sender: Sender, count: int) -> list[Any]:
    """Adds items in one turn, and answers what each is told."""
    told: dict[int, Any] = {}

    def tell(n: int) -> Callable[[Any, WorkflowsError | None], None]:
        def answered(ok: Any, error: WorkflowsError | None) -> None:
            told[n] = ok if error is None else error.code

        return answered

    async def run() -> None:
        outbox = Outbox(sender)
        for n in range(count):
            outbox.add(Operation.RELEASE, f'{{"n":{n}}}', tell(n))
        await outbox.flushed(5)

    asyncio.run(run())
    return [told[n] for n in range(count)]


def test_items_of_one_turn_go_together_a_hundred_at_a_time() -> None:
    sender = Sender(accepted)
    assert sent(sender, 250) == list(range(250))
    assert [len(numbers) for numbers in sender.seen] == [100, 100, 50]


def test_what_cannot_be_written_now_is_tried_again_alone_if_the_others_could() -> None:
    def answer(numbers: list[int]) -> list[Json]:
        if len(sender.seen) == 1:
            raise fault_to_exception(BUSY)
        again = len(sender.seen) == 2
        return [{"error": BUSY} if n == 1 and again else {"ok": n} for n in numbers]

    sender = Sender(answer)
    assert sent(sender, 3) == [0, 1, 2]
    assert sender.seen == [[0, 1, 2], [0, 1, 2], [1]]


def test_a_request_that_is_refused_is_split_so_that_each_has_an_answer_of_its_own() -> None:
    def answer(numbers: list[int]) -> list[Json]:
        if 1 in numbers:
            raise fault_to_exception(REFUSED)
        return [{"error": LOST} if n == 2 else {"ok": n} for n in numbers]

    assert sent(Sender(answer), 3) == [0, "invalid_request", "lease_lost"]


def test_an_answer_that_cannot_be_taken_in_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Any] = []

    def broken(ok: Any, error: WorkflowsError | None) -> None:
        raise RuntimeError("broken")

    async def run() -> None:
        outbox = Outbox(Sender(accepted))
        outbox.add(Operation.RELEASE, '{"n":1}', broken)
        outbox.add(Operation.RELEASE, '{"n":2}', lambda ok, error: told.append(ok))
        await outbox.flushed(5)

    with caplog.at_level(logging.ERROR, "workflows"):
        asyncio.run(run())
    assert told == [2]
    assert "could not be taken in" in caplog.text
