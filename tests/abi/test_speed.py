"""A call costs little, into Go and from every stack, too.

The bounds are far above what is measured (about a microsecond) and far below what
a call costs when Go looks for its stack in /proc/self/maps: 160 microseconds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from abi_host import LIBRARY, OK, ROOT, Channel, RunC, refused

MOST_US = 5.0


def test_a_call_from_a_stack_that_go_does_not_know_is_cheap(run_c: RunC) -> None:
    result = run_c("stack.c")
    assert result.returncode == 0, result.stderr
    for nanoseconds in result.stdout.split():
        assert float(nanoseconds) / 1000 < MOST_US


_KOFFI = """
const koffi = require(process.argv[1]);
const library = koffi.load(process.argv[2]);
const close = library.func('int wf_close(uint64_t, int)'); // which enters Go
for (let i = 0; i < 1000; i++) close(1, 0);
let least = Infinity; // of short rounds, since other processes only ever add to it
for (let round = 0; round < 100; round++) {
  const started = process.hrtime.bigint();
  for (let i = 0; i < 1000; i++) close(1, 0);
  least = Math.min(least, Number(process.hrtime.bigint() - started) / 1e6);
}
console.log(least);
"""


def koffi() -> Path | None:
    """Find koffi where `make setup` installs it, or where WORKFLOWS_TEST_KOFFI says."""
    named = os.environ.get("WORKFLOWS_TEST_KOFFI")
    path = Path(named) if named else ROOT / "node_modules" / "koffi"
    return path if path.is_dir() else None


def test_a_call_through_koffi_is_cheap() -> None:
    package, node = koffi(), shutil.which("node")
    if package is None or node is None:
        pytest.skip("koffi comes with `npm ci`, which needs Node; one of them is missing")
    result = subprocess.run(
        [node, "-e", _KOFFI, str(package), str(LIBRARY)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert float(result.stdout) < MOST_US


def test_a_thousand_in_flight_are_cheap(channel: Channel) -> None:
    """Each costs some ten microseconds of processor time, with ctypes around it."""
    started = time.process_time()
    for first in range(0, 50_000, 1000):
        assert channel.submit(refused(range(first, first + 1000))) == OK
        channel.await_(1000)
    assert (time.process_time() - started) / 50_000 < 200e-6
