"""What the library shows of itself is what the header says."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
from pathlib import Path

import pytest
from abi_host import DECLARED, HEADER, LIBRARY, OPERATIONS, ROOT, Host


def test_the_library_exports_exactly_what_the_header_declares() -> None:
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", str(LIBRARY)], check=True, capture_output=True, text=True
    ).stdout
    assert sorted(line.split()[-1] for line in listing.splitlines()) == DECLARED


def test_every_operation_has_a_function() -> None:
    assert {f"wf_{name}" for name in OPERATIONS} < set(DECLARED)
    assert sorted(OPERATIONS.values()) == list(range(1, len(OPERATIONS) + 1))


@pytest.mark.parametrize(
    "compiler",
    [
        "gcc -std=c99 -xc",
        "gcc -std=c17 -xc",
        "g++ -std=c++11 -xc++",
        "g++ -std=c++20 -xc++",
    ],
)
def test_the_header_compiles_alone_and_links(compiler: str, tmp_path: Path) -> None:
    source = tmp_path / "program"
    calls = "\n".join(f"\tif (argc > 1) p = (function)&{name};" for name in DECLARED)
    source.write_text(
        f'#include "{HEADER}"\n#include "{HEADER}"\ntypedef void (*function)(void);\n'
        f"int main(int argc, char **argv)\n{{\n\tfunction p = 0;\n\t(void)argv;\n{calls}\n"
        "\treturn p != 0 || wf_abi_version() != WF_ABI_VERSION;\n}\n"
    )
    program = tmp_path / "a.out"
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-cast-function-type"]
    subprocess.run(
        [*compiler.split(), *flags, str(source), "-xnone", str(LIBRARY), "-o", str(program)],
        check=True,
    )
    subprocess.run([str(program)], check=True, env={"LD_LIBRARY_PATH": str(LIBRARY.parent)})


def test_the_build_info_fits_the_header(host: Host) -> None:
    info = json.loads(host.c.wf_build_info())
    assert set(info) == {"version", "commit", "abi", "operations", "go", "platform"}
    text = HEADER.read_text()
    assert f'WF_OPERATIONS_DIGEST "{info["operations"]}"' in text
    assert f"WF_ABI_VERSION {info['abi']}\n" in text
    assert host.c.wf_abi_version() == info["abi"]


def test_the_build_info_is_static(host: Host) -> None:
    raw = ctypes.CDLL(str(LIBRARY)).wf_build_info
    raw.restype = ctypes.c_void_p
    assert raw() == raw()


def test_it_stays_loaded() -> None:
    dynamic = subprocess.run(
        ["readelf", "-d", str(LIBRARY)], check=True, capture_output=True, text=True
    ).stdout
    assert "NODELETE" in dynamic


def test_it_needs_nothing_but_the_c_library() -> None:
    dynamic = subprocess.run(
        ["readelf", "-d", str(LIBRARY)], check=True, capture_output=True, text=True
    ).stdout
    needed = set(re.findall(r"NEEDED.*\[(\w[\w+-]*)\.so", dynamic))
    assert needed <= {
        "libc",
        "libpthread",
        "libdl",
        "libresolv",
        "ld-linux-x86-64",
        "ld-linux-aarch64",
    }


def test_no_go_code_of_the_library_touches_signals() -> None:
    imports = subprocess.run(
        ["grep", "-rl", '"os/signal"', "capi", "core", "--include=*.go"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert [path for path in imports if "/cmd/" not in path and "_test.go" not in path] == []
