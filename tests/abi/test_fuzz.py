"""A short run of the fuzzer, on the library as it is shipped; `make fuzz` has the long one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from abi_host import LIBRARY, ROOT

CALLS, SEED = 100_000, 1


def test_no_call_is_wrong_enough_to_crash_it(tmp_path: Path, config: bytes) -> None:
    program = tmp_path / "fuzz"
    strict = ["-std=c99", "-O1", "-g", "-pthread", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    sources = [Path(__file__).parent / name for name in ("fuzz.c", "fuzz_text.c")]
    linked = [LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}"]
    subprocess.run(
        ["gcc", *strict, f"-I{ROOT / 'include'}", *sources, *linked, "-o", program], check=True
    )
    done = subprocess.run(
        [program, config.decode(), str(CALLS), str(SEED)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{CALLS} calls, 0 crashes" in done.stdout
