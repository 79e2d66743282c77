"""Who calls the library through ffi-napi, as before the adapter, still can."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from abi_host import LIBRARY, ROOT


def test_a_job_from_start_to_end_through_ffi_napi(config: bytes) -> None:
    node = shutil.which("node")
    if node is None or not (ROOT / "node_modules" / "@2060.io" / "ffi-napi").is_dir():
        pytest.skip("node or the packages that `make setup` gives it are not here")
    done = subprocess.run(
        [node, Path(__file__).with_name("ffi_napi.cjs"), LIBRARY, config],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["found"]["status"] == "completed"
    assert answer["found"]["result"] == "Hello, Ädä!"
    assert answer["refused"].startswith("execution_not_found: ")
