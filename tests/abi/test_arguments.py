"""Every bad input has a typed error; none ends the process."""

from __future__ import annotations

import ctypes
import random
from ctypes import byref, c_size_t, c_uint64, c_void_p

import pytest
from abi_host import (
    CLOSED,
    ERROR,
    INVALID_ARGUMENT,
    INVALID_HANDLE,
    MAX_TOKEN,
    OK,
    OPERATIONS,
    REFUSED,
    Channel,
    Host,
    frame,
    refused,
)

GREATEST_SIZE = ctypes.c_size_t(-1).value


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_wants_its_outputs(host: Host, engine: int, operation: str) -> None:
    function = getattr(host.c, f"wf_{operation}")
    out, n = c_void_p(1), c_size_t(1)
    assert function(engine, b"{}", 2, None, byref(n)) == INVALID_ARGUMENT
    assert n.value == 0
    assert function(engine, b"{}", 2, byref(out), None) == INVALID_ARGUMENT
    assert out.value is None
    assert function(engine, None, 0, None, None) == INVALID_ARGUMENT


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_refuses_what_it_does_not_take(
    host: Host, engine: int, operation: str
) -> None:
    deep = b'{"items":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for request, code in [
        (REFUSED, "invalid_request"),
        (b"[]", "invalid_request"),
        (b"5", "invalid_request"),
        (b"{", "invalid_request"),
        (b"{}{}", "invalid_request"),
        (b'{"a":NaN}', "invalid_request"),
        (b"\xff\xfe{}", "invalid_request"),
        (b'{"a":"\xc3("}', "invalid_request"),
        (b"\x00", "invalid_request"),
        (deep, "payload_too_large"),
    ]:
        reply = host.call(engine, operation, request)
        assert (reply.status, reply.code) == (ERROR, code), request[:20]


@pytest.mark.parametrize(
    "request_",
    [b'{"id":5}', b'{"id":"x"}', b'{"id":null,"id":{}}', b'{"id":["a"]}', b'{"id":"\\u0000"}'],
)
def test_wrong_types_name_themselves(host: Host, engine: int, request_: bytes) -> None:
    assert host.call(engine, "get_execution", request_).code == "invalid_request"


def test_a_null_text_with_a_length_is_refused(host: Host, engine: int) -> None:
    out, n = c_void_p(1), c_size_t(1)
    assert host.c.wf_stats(engine, None, 1, byref(out), byref(n)) == INVALID_ARGUMENT
    assert b"invalid_request" in (host.text(out) or b"")
    handle, error = c_uint64(1), c_void_p(1)
    assert host.c.wf_open(None, 5, byref(handle), byref(error)) == INVALID_ARGUMENT
    assert b"invalid_request" in (host.text(error) or b"")
    assert handle.value == 0


def test_a_null_text_without_a_length_is_an_empty_object(host: Host, engine: int) -> None:
    out, n = c_void_p(1), c_size_t(1)
    assert host.c.wf_get_history(engine, None, 0, byref(out), byref(n)) in (OK, ERROR)
    assert host.text(out)


def test_a_length_beyond_the_limit_is_refused_unread(host: Host, engine: int) -> None:
    for n in [(64 << 20) + 1, 1 << 31, 1 << 32, GREATEST_SIZE]:
        reply = host.call(engine, "stats", b"{}", n)
        assert (reply.status, reply.code) == (ERROR, "payload_too_large")
    handle, error = c_uint64(1), c_void_p(1)
    assert host.c.wf_open(b"{}", GREATEST_SIZE, byref(handle), byref(error)) == ERROR
    assert b"payload_too_large" in (host.text(error) or b"")


def test_a_length_cuts_the_text_off(host: Host, engine: int) -> None:
    assert host.call(engine, "get_execution", b'{"id":1}garbage', 8).code == "invalid_request"
    assert "ends too early" in str(host.call(engine, "get_execution", b'{"id":1}', 5).body)


def test_opening_wants_its_outputs(host: Host, config: bytes) -> None:
    handle, error = c_uint64(1), c_void_p(1)
    assert host.c.wf_open(config, len(config), None, byref(error)) == INVALID_ARGUMENT
    assert error.value is None
    assert host.c.wf_open(config, len(config), byref(handle), None) == INVALID_ARGUMENT
    assert handle.value == 0


@pytest.mark.parametrize(
    "config",
    [b"[]", b'{"schema":1}', b'{"pool_size":"x"}', b"{", b"\xff", b'{"password":1}', b"{}x"],
)
def test_a_wrong_configuration_is_explained(host: Host, config: bytes) -> None:
    status, engine, error = host.open(config)
    assert (status, engine, error["error"]["code"]) == (ERROR, 0, "invalid_config")


def test_channels_want_their_outputs(host: Host, engine: int, channel: Channel) -> None:
    out, n = c_void_p(1), c_size_t(1)
    assert host.c.wf_channel_open(engine, None) == INVALID_ARGUMENT
    assert host.c.wf_drain(channel.handle, 1, None, byref(n)) == INVALID_ARGUMENT
    assert host.c.wf_drain(channel.handle, 1, byref(out), None) == INVALID_ARGUMENT
    assert (out.value, n.value) == (None, 0)
    assert host.c.wf_submit(channel.handle, None, 16) == INVALID_ARGUMENT
    assert host.c.wf_submit(channel.handle, b"x", GREATEST_SIZE) == INVALID_ARGUMENT
    assert host.c.wf_submit(channel.handle, None, 0) == OK


def test_freeing_nothing_is_fine(host: Host) -> None:
    host.c.wf_free(None)


def every_use(host: Host, handle: int) -> dict[str, int]:
    """Use a handle in every function that takes one."""
    out, n, made = c_void_p(), c_size_t(), c_uint64(1)
    used = {name: host.call(handle, name, b"{}").status for name in OPERATIONS}
    used["channel_open"] = host.c.wf_channel_open(handle, byref(made))
    assert made.value == 0
    used["channel_fd"] = host.c.wf_channel_fd(handle)
    used["submit"] = host.c.wf_submit(handle, b"", 0)
    used["drain"] = host.c.wf_drain(handle, 1, byref(out), byref(n))
    used["wait"] = host.c.wf_wait(handle, 0)
    used["cancel"] = host.c.wf_cancel(handle, 1)
    return used


def test_a_forged_handle_is_refused_everywhere(host: Host, engine: int, channel: Channel) -> None:
    for handle in [0, 1, engine + 1000, channel.handle + 1000, 1 << 63, (1 << 64) - 1]:
        assert set(every_use(host, handle).values()) == {INVALID_HANDLE}, handle
        assert host.c.wf_close(handle, 0) == INVALID_HANDLE
        assert host.c.wf_channel_close(handle) == INVALID_HANDLE


def test_a_handle_of_the_other_kind_is_refused(host: Host, engine: int, channel: Channel) -> None:
    assert host.c.wf_close(channel.handle, 0) == INVALID_HANDLE
    assert host.c.wf_channel_close(engine) == INVALID_HANDLE
    assert host.call(channel.handle, "stats", b"{}").code == "invalid_handle"
    assert host.c.wf_submit(engine, b"", 0) == INVALID_HANDLE
    assert host.call(engine, "get_execution", REFUSED).code == "invalid_request"


def test_a_closed_handle_says_so(host: Host, config: bytes, engine: int) -> None:
    status, other, _ = host.open(config)
    assert status == OK
    channel = host.channel(other)
    assert channel.close() == OK
    assert host.c.wf_close(other, 0) == OK
    for name, status in every_use(host, other).items():
        of_an_engine = name in OPERATIONS or name == "channel_open"
        assert status == (CLOSED if of_an_engine else INVALID_HANDLE), name
    assert host.call(other, "stats", b"{}").code == "closed"
    assert host.c.wf_close(other, 0) == OK
    assert channel.close() == OK
    assert channel.submit(refused([1])) == CLOSED
    assert channel.wait(0) == CLOSED
    assert channel.fd() == CLOSED
    assert channel.drain() == (CLOSED, [])
    assert channel.cancel(1) == CLOSED


GOOD = frame(1, "get_execution", REFUSED)


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("half a head", GOOD[:15]),
        ("one byte", GOOD[:1]),
        ("cut off", GOOD[:-1]),
        ("a byte too many", GOOD + b"x"),
        ("a second one cut off", GOOD + frame(2, "stats", b"{}")[:-1]),
        ("a length of 4 GiB", GOOD[:8] + b"\xff" * 4 + GOOD[12:]),
        ("a zero that is not", frame(1, "get_execution", REFUSED, zero=1)),
        ("a token of 2^53", frame(MAX_TOKEN, "stats", b"{}")),
        ("a token of 2^64-1", frame(2**64 - 1, "stats", b"{}")),
        ("the same token twice", GOOD + GOOD),
        ("zeros", bytes(15)),
        ("noise", random.Random(1).randbytes(1000)),
    ],
)
def test_malformed_requests_are_refused_whole(channel: Channel, name: str, packed: bytes) -> None:
    assert channel.submit(refused([7]), packed) == INVALID_ARGUMENT, name
    assert channel.submit(refused([7])) == OK  # so 7 was not taken
    assert list(channel.await_(1)) == [7]
    assert channel.drain() == (0, [])


def test_what_an_operation_refuses_completes(channel: Channel) -> None:
    assert (
        channel.submit(
            frame(0, 0, b"{}"),
            frame(1, 65535, b"{}"),
            frame(2, "stats", b"\xff"),
            frame(3, "get_execution", b""),
            frame(4, "get_execution", b"[" * 5000),
            frame(MAX_TOKEN - 1, "get_execution", b'{"id":NaN}'),
        )
        == OK
    )
    codes = {token: reply.code for token, reply in channel.await_(6).items()}
    assert codes.pop(3) in ("execution_not_found", "invalid_request", "internal")
    assert codes == {
        0: "unknown_operation",
        1: "unknown_operation",
        2: "invalid_request",
        4: "payload_too_large",
        MAX_TOKEN - 1: "invalid_request",
    }


def test_a_request_over_the_limit_completes_with_its_error(channel: Channel) -> None:
    assert channel.submit(frame(1, "stats", bytes((64 << 20) + 1))) == OK
    assert channel.await_(1)[1].code == "payload_too_large"


def test_noise_is_survived(host: Host, engine: int) -> None:
    noise = random.Random(20)
    channel = host.channel(engine)
    for _ in range(20_000):
        packed = bytearray(refused(range(noise.randrange(3))))
        for _ in range(noise.randrange(4)):
            if packed:
                packed[noise.randrange(len(packed))] = noise.randrange(256)
        status = channel.submit(bytes(packed))
        assert status in (OK, INVALID_ARGUMENT)
        channel.drain(1000)
    assert channel.close() == OK
