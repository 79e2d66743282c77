"""What is counted of event loops that bodies hold up."""

from __future__ import annotations

from datetime import datetime

from fault_stalls import blocks, delays, told, untold

_LOG = """\
2026/11/30 20:08:29 WARN the event loop of this process has taken no reply for more than 4s: it
2026/11/30 20:08:31 INFO the event loop of this process goes on, after some 6s pid=26261
2026/11/30 20:08:39 WARN the event loop of this process has taken no reply for more than 4s: it
"""


def test_a_worker_tells_that_it_is_stalled_by_the_end_of_the_second_that_its_log_has() -> None:
    first, second = told(_LOG)
    assert second - first == 10
    assert first == datetime(2026, 11, 30, 20, 8, 30).timestamp()


def test_a_block_lasts_from_the_begin_of_a_body_that_blocks_to_its_end() -> None:
    lines = [
        {"t": "begin", "x": "other", "at": 0},
        {"t": "begin", "x": "blocker", "at": 10**9},
        {"t": "end", "x": "blocker", "at": 7 * 10**9},
        {"t": "took", "x": "blocker", "at": 8 * 10**9},
        {"t": "begin", "x": "blocker", "at": 9 * 10**9},
    ]
    assert blocks(lines, {"blocker": {}}, 10**9) == [(2.0, 8.0)]


def test_a_stall_is_told_within_its_block_and_a_long_one_may_be_missed() -> None:
    spans = [(0.0, 5.0), (20.0, 30.0), (50.0, 60.0)]
    assert delays(spans, [27.0]) == [7.0]
    assert untold(spans, [27.0]) == 1
    assert untold(spans, [27.0, 57.5]) == 0
    assert untold(spans, []) == 2
