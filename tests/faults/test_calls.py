"""What is counted of errors that clients saw, and of those that the library kept from them."""

from __future__ import annotations

from fault_calls import cancelled, surfaced, tried_again, unhandled

_AGAIN = (
    '2026/11/30 20:12:45 WARN a write is tried again writes=2 error="database_unavailable:'
    ' PostgreSQL cannot serve this now ({}); it is tried again"'
)
_AWAY = (
    "2026/11/30 20:12:45 WARN a write is tried again writes=3"
    ' error="database_unavailable: PostgreSQL at /socket cannot be reached"'
)


def test_errors_are_counted_by_code_and_answers_are_none() -> None:
    calls = [
        {"op": "start", "code": None},
        {"op": "start", "code": "database_unavailable", "sqlstate": "57P01"},
        {"op": "signal", "code": "timeout"},
        {"op": "signal", "code": "execution_finished"},
        {"op": "result", "code": "result_timeout"},
    ]
    assert surfaced(calls) == {
        "errors_surfaced": 2,
        "errors_by_code": {"database_unavailable 57P01": 1, "timeout": 1},
        "starts_failed": 1,
    }


def test_writes_that_the_library_tries_again_are_counted_by_state() -> None:
    log = "\n".join([_AGAIN.format("57P01"), _AWAY, "worker x serves", _AGAIN.format("57P01")])
    assert tried_again([log, _AWAY]) == {"no connection": 6, "57P01": 4}


def test_a_state_is_unhandled_unless_the_library_tried_again() -> None:
    raised = "WARNING job x failed: PostgreSQL cannot serve this now (40001); it is tried again"
    assert unhandled("40001", [_AGAIN.format("40001"), _AWAY], [{"sqlstate": "57P01"}]) == 0
    assert unhandled("40001", [raised], [{"sqlstate": "40001"}, {}]) == 2


def test_the_servers_log_tells_what_it_did_not_carry_out() -> None:
    log = (
        "ERROR:  could not serialize access due to concurrent update\n"
        "ERROR:  canceling statement due to lock timeout\n"
        "ERROR:  canceling statement due to statement timeout\n"
        "ERROR:  canceling statement due to lock timeout\n"
    )
    assert cancelled(log) == {
        "not_serialized": 1,
        "statements_cancelled": {"lock timeout": 2, "statement timeout": 1},
    }
