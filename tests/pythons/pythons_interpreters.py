"""Finds the Pythons of this machine that the adapter supports.

Run as a program it prints those that are of another version than what runs it,
a line each: the version, and the path if there is one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13")
NEXT = "3.14"  # nobody misses it yet


def find(version: str) -> dict[str, str]:
    """Answers the paths of the Pythons of a version such as 3.12, by their full versions.

    Looked for where WORKFLOWS_TEST_PYTHONS says (paths, separated as in PATH), in
    PATH, among pyenv's, and in what runs this. The first is the one to prefer.
    """
    found: dict[str, str] = {}
    for path in dict.fromkeys(_candidates(version)):
        full = _version(path)
        if full is not None and full.startswith(f"{version}."):
            found.setdefault(full, path)
    return found


def _candidates(version: str) -> Iterator[str]:
    yield from filter(None, os.environ.get("WORKFLOWS_TEST_PYTHONS", "").split(os.pathsep))
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if on_path := shutil.which(f"python{version}", path=directory):
            yield on_path
    # A shim of pyenv is in the PATH even if its version is not active.
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in sorted(root.glob(f"versions/{version}*/bin/python{version}"), reverse=True):
        yield str(path)
    yield sys.executable


def _version(path: str) -> str | None:
    code = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    try:
        done = subprocess.run(
            [path, "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    for each in SUPPORTED:
        if each != "{}.{}".format(*sys.version_info):
            print(each, next(iter(find(each).values()), ""))
