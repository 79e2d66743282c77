"""Errors on the wire: faults, and what functions raise, there and back."""

from __future__ import annotations

import json
import traceback

import pytest
import workflows
from workflows._operations import FAULT_CODES
from workflows._wire_errors import (
    MAX_CAUSES,
    MAX_ERROR_BYTES,
    error_to_exception,
    exception_to_error,
    fault_to_exception,
)


@pytest.mark.parametrize("code", FAULT_CODES)
def test_every_fault_code_has_a_class_of_its_name(code: str) -> None:
    error = fault_to_exception(
        {"code": code, "message": "m", "retryable": False, "details": {"id": "7"}}
    )
    assert type(error).__name__ == "".join(word.capitalize() for word in code.split("_"))
    assert (str(error), error.code, error.details) == ("m", code, {"id": "7"})
    assert type(error).retryable is FAULT_CODES[code].retryable  # pyright: ignore[reportArgumentType]


def test_a_code_that_is_newer_than_the_package_is_still_an_error_with_that_code() -> None:
    error = fault_to_exception({"code": "moon_in_the_way", "message": "m", "retryable": True})
    assert type(error) is workflows.WorkflowsError
    assert (error.code, error.retryable) == ("moon_in_the_way", True)


def test_a_fault_says_itself_whether_it_can_be_retried() -> None:
    assert fault_to_exception({"code": "internal", "retryable": True}).retryable
    assert not fault_to_exception({"code": "busy", "retryable": False}).retryable


def test_what_looks_like_an_own_code_of_the_adapter_does_not_break_the_mapping() -> None:
    error = fault_to_exception({"code": "activity_failed", "message": "m"})
    assert type(error) is workflows.WorkflowsError


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_exception_crosses_with_type_message_stack_and_causes() -> None:
    def inner() -> None:
        raise KeyError("x")

    def outer() -> None:
        try:
            inner()
        except KeyError as error:
            raise ValueError("outer") from error

    with pytest.raises(ValueError, match="outer") as caught:
        outer()
    wire = exception_to_error(caught.value)
    assert (wire["type"], wire["message"], wire["language"]) == ("ValueError", "outer", "python")
    assert "in inner" in wire["cause"]["stack"]
    assert wire["cause"]["type"] == "KeyError"

    back = error_to_exception(json.loads(json.dumps(wire)))
    assert (back.type, back.message, back.stack) == ("ValueError", "outer", wire["stack"])
    assert isinstance(back.__cause__, workflows.RemoteError)
    assert back.__cause__.type == "KeyError"
    assert "in inner" in "".join(traceback.format_exception(back))


def test_the_context_is_a_cause_unless_it_was_suppressed() -> None:
    def fail(suppress: bool) -> None:
        try:
            raise KeyError("x")
        except KeyError:
            if suppress:
                raise ValueError("v") from None
            raise ValueError("v")  # noqa: B904  # the context is what is tested

    for suppress in (False, True):
        with pytest.raises(ValueError, match="v") as caught:
            fail(suppress)
        assert ("cause" in exception_to_error(caught.value)) is not suppress


def test_a_remote_error_stays_the_same_through_any_number_of_hops() -> None:
    wire = {
        "type": "CardDeclined",
        "message": "no funds",
        "stack": "at charge (pay.js:7)",
        "non_retryable": True,
        "details": {"cents": 7},
        "language": "node",
        "cause": {"type": "Error", "message": "", "language": "node"},
    }
    once = exception_to_error(raised(error_to_exception(wire)))
    assert once == wire
    assert exception_to_error(error_to_exception(once)) == wire


def test_an_uncaught_activity_error_has_the_remote_error_as_its_cause() -> None:
    remote = {"type": "CardDeclined", "message": "no funds", "stack": "at charge"}
    error = workflows.ActivityError.of(remote, attempts=4)
    assert (error.type, error.message, error.attempts) == ("CardDeclined", "no funds", 4)
    assert error.stack == "at charge"
    wire = exception_to_error(error)
    assert wire["type"] == "ActivityError"
    assert wire["cause"]["type"] == "CardDeclined"


def test_causes_end_at_the_eighth_and_circles_end() -> None:
    outermost: BaseException = ValueError("0")
    for depth in range(1, 20):
        error = ValueError(str(depth))
        error.__cause__ = outermost
        outermost = error
    wire, depth = exception_to_error(outermost), 0
    while "cause" in wire:
        wire, depth = wire["cause"], depth + 1
    assert depth == MAX_CAUSES

    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a
    assert "cause" not in exception_to_error(a)["cause"]


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\U0001f600" * 1_000_000, "\ud800" * 1_000_000])
def test_an_error_is_never_more_than_64_kib_however_long_its_texts(text: str) -> None:
    error: BaseException = ValueError(text)
    for _ in range(8):
        outer = type("E" * 1000, (Exception,), {})(text)
        outer.details = {"text": text}
        outer.__cause__ = error
        error = outer
    wire = exception_to_error(raised(error))
    assert len(json.dumps(wire)) <= MAX_ERROR_BYTES
    assert "characters left out" in wire["message"]


def test_a_deep_recursion_keeps_its_innermost_frames() -> None:
    def down(n: int) -> None:
        if n == 0:
            raise ValueError("bottom")
        down(n - 1)

    with pytest.raises(ValueError, match="bottom") as caught:
        down(500)
    stack = exception_to_error(caught.value)["stack"]
    assert 'raise ValueError("bottom")' in stack
    assert len(stack) < 16_000


def test_an_exception_that_cannot_say_what_it_is_still_crosses() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    wire = exception_to_error(Mute())
    assert wire["type"] == "Mute"
    assert "RuntimeError" in wire["message"]


def test_an_exception_whose_attributes_raise_still_crosses() -> None:
    class Hostile(Exception):
        @property
        def details(self) -> object:
            raise RuntimeError("no")

        @property
        def non_retryable(self) -> bool:
            raise RuntimeError("no")

    wire = exception_to_error(Hostile("m"))
    assert (wire["type"], wire["message"]) == ("Hostile", "m")
    assert wire.keys() == {"type", "message", "language"}


def test_details_that_are_not_json_are_left_out_and_said_to_be() -> None:
    error = workflows.WorkflowsError("m", details={"a": object()})
    assert exception_to_error(error)["details"] == {"left_out": "not JSON"}


def test_surrogates_and_nul_in_a_message_arrive_as_sent() -> None:
    text = "a\x00b\ud800c"
    wire = json.loads(json.dumps(exception_to_error(ValueError(text))))
    assert error_to_exception(wire).message == text


def test_the_first_of_a_group_is_its_cause() -> None:
    wire = exception_to_error(ExceptionGroup("two", [KeyError("a"), ValueError("b")]))
    assert wire["cause"]["type"] == "KeyError"


def test_what_says_so_is_not_retryable() -> None:
    class Declined(workflows.NonRetryableError):
        pass

    assert exception_to_error(Declined("no"))["non_retryable"] is True
    assert exception_to_error(workflows.PayloadError("$", "no"))["non_retryable"] is True
    assert "non_retryable" not in exception_to_error(ValueError("no"))


@pytest.mark.parametrize("wire", [None, {}, {"type": 7, "message": None, "cause": "x"}])
def test_a_malformed_error_still_makes_an_exception(wire: object) -> None:
    assert error_to_exception(wire).type == "Error"  # pyright: ignore[reportArgumentType]
