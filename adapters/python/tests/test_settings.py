"""Durations and the environment."""

from __future__ import annotations

from datetime import timedelta

import pytest
from workflows import InvalidConfig, InvalidDuration
from workflows._settings import Settings, milliseconds, seconds


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (0, 0),
        (2, 2),
        (0.25, 0.25),
        ("30s", 30),
        ("5m", 300),
        ("24h", 86400),
        ("1d", 86400),
        ("1w", 604800),
        ("250ms", 0.25),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (" 30s ", 30),
        ("30", 30),
        ("0", 0),
        (timedelta(minutes=2), 120),
    ],
)
def test_a_duration_is_read(text: float | str | timedelta, wanted: float) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "soon",
        "5 m",
        "5M",
        "m5",
        "5y",
        "1e3",
        "٣s",
        "-5s",
        -1,
        True,
        None,
        [],
        b"5s",
        float("nan"),
        float("inf"),
        10**400,
        "99999999999d",
        timedelta(days=-1),
    ],
    ids=repr,
)
def test_nonsense_is_a_typed_error_that_names_it(nonsense: object) -> None:
    with pytest.raises(InvalidDuration, match="timeout must") as caught:
        seconds(nonsense, name="timeout")  # pyright: ignore[reportArgumentType]
    assert isinstance(caught.value, ValueError)


def test_less_than_nothing_is_accepted_where_it_has_a_meaning() -> None:
    assert seconds(-5, negative=True) == -5
    assert milliseconds("-5", negative=True) == -5000


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0, 0), (0.1, 100), (0.3, 300), (1.1, 1100), (0.0001, 1), (1e-12, 1), ("1.0005s", 1001)],
)
def test_milliseconds_are_rounded_up_so_that_a_timeout_never_becomes_none(
    value: float | str, wanted: int
) -> None:
    assert milliseconds(value) == wanted


def test_the_environment_is_read() -> None:
    assert Settings.from_environment(
        {
            "WORKFLOWS_DATABASE_URL": "postgres:///app",
            "WORKFLOWS_LISTEN_URL": "off",
            "WORKFLOWS_SCHEMA": "jobs",
            "WORKFLOWS_WORKER_HEARTBEAT_INTERVAL": "200ms",
            "WORKFLOWS_WORKER_HEARTBEAT_TIMEOUT": "10",
            "WORKFLOWS_WORKER_POLL_INTERVAL": "1s",
            "WORKFLOWS_WORKER_MAX_CONCURRENT": "20",
            "WORKFLOWS_DEFAULT_TIMEOUT": "5m",
            "WORKFLOWS_DEFAULT_WORKFLOW_TIMEOUT": "24h",
            "WORKFLOWS_DEFAULT_RETRIES": "0",
        }
    ) == Settings(
        database_url="postgres:///app",
        listen_url="off",
        schema="jobs",
        worker_heartbeat_interval=0.2,
        worker_heartbeat_timeout=10,
        worker_poll_interval=1,
        worker_max_concurrent=20,
        default_timeout=300,
        default_workflow_timeout=86400,
        default_retries=0,
    )


def test_what_is_not_set_or_empty_is_none() -> None:
    assert Settings.from_environment({"WORKFLOWS_SCHEMA": " "}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKFLOWS_DEFAULT_TIMEOUT", "soon"),
        ("WORKFLOWS_DEFAULT_RETRIES", "-1"),
        ("WORKFLOWS_DEFAULT_RETRIES", "2.5"),
        ("WORKFLOWS_WORKER_MAX_CONCURRENT", "0"),
        ("WORKFLOWS_WORKER_MAX_CONCURRENT", "many"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidConfig, match=name):
        Settings.from_environment({name: value})
