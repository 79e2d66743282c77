"""Nothing stays behind of calls: see leak.c. `make fuzz` makes a million of each."""

from __future__ import annotations

import os

from abi_host import RunC

CALLS = os.environ.get("LEAK_CALLS", "30000")


def test_calls_leave_nothing_behind(run_c: RunC, config: bytes) -> None:
    result = run_c("leak.c", config.decode(), CALLS, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
