"""The mailbox between the host's threads and Go, compiled alone, under sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from abi_host import ROOT

SOURCES = [
    ROOT / "capi" / f"{name}.c"
    for name in ("mailbox", "names", "tokens", "watchers", "frames", "completions")
]


def built(tmp_path: Path, source: str, *flags: str) -> Path:
    """Compile a program of this directory with the mailbox, strictly."""
    program = tmp_path / Path(source).stem
    strict = ["-std=c99", "-O1", "-g", "-pthread", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    inputs = [Path(__file__).parent / source, *SOURCES]
    places = [f"-I{ROOT / 'include'}", f"-I{ROOT / 'capi'}"]
    subprocess.run(["gcc", *strict, *flags, *places, *inputs, "-o", program], check=True)
    return program


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("end", ["shut", "drop"])
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_many_threads_at_a_mailbox_lose_nothing(tmp_path: Path, sanitizer: str, end: str) -> None:
    result = run(built(tmp_path, "mailbox_hammer.c", f"-fsanitize={sanitizer}"), end)
    assert result.returncode == 0, result.stderr[-3000:]


def test_what_has_no_memory_has_changed_nothing(tmp_path: Path) -> None:
    wrapped = "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc"
    result = run(built(tmp_path, "mailbox_memory.c", "-fsanitize=address,undefined", wrapped))
    assert result.returncode == 0, result.stderr[-3000:]


def test_a_mailbox_knows_nothing_of_go() -> None:
    """What an event loop calls must not enter Go: an export would be called go..."""
    for source in SOURCES:
        assert "_cgo_export" not in source.read_text(), source
