"""Clocks that are off: see clock.c."""

from __future__ import annotations

import subprocess
from pathlib import Path

from fault_server import ROOT

_SOURCE = Path(__file__).with_name("clock.c")
_BUILT = ROOT / "build" / "faults" / "clock.so"


def build_clock() -> None:
    """Compile what puts a clock forward or back."""
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(_BUILT), str(_SOURCE)]
    subprocess.run(command, check=True)
    _BUILT.chmod(0o755)  # the server may run as another user


def clock_off_by(seconds: int) -> dict[str, str]:
    """Answer the environment of a process whose clock is ahead by so much, or behind."""
    return {"LD_PRELOAD": str(_BUILT), "FAULTS_CLOCK_S": str(seconds)} if seconds else {}
