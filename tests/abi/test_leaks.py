"""Nothing stays behind of calls: see leak.c. `make fuzz` makes a million of each kind."""

from __future__ import annotations

import os

from abi_host import RunC

CALLS = os.environ.get("LEAK_CALLS", "30000")
OPERATIONS = os.environ.get("LEAK_CALLS", "6000")  # those that succeed: they go to the database


def test_calls_leave_nothing_behind(run_c: RunC, config: bytes) -> None:
    result = run_c("leak.c", config.decode(), CALLS, OPERATIONS, timeout=1700)
    assert result.returncode == 0, result.stdout + result.stderr
