"""The rig is a folder of programs, not a package."""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).parents[1]

sys.path[:0] = map(
    str,
    (
        *(_TESTS.parent / "bench", _TESTS / "crash", _TESTS / "programs"),
        *(_TESTS / "faults", _TESTS / "faults/mutants", _TESTS / "faults/peers"),
    ),
)
