"""The library with some of its files replaced, built beside what is checked out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def overlay(directory: Path, changed: Mapping[str, str | None]) -> Path:
    """Write the changed files, and what `go -overlay` reads.

    Args:
        directory: for both.
        changed: the text of each, by its path in the project; None takes one away.
    """
    directory.mkdir(parents=True, exist_ok=True)
    replaced: dict[str, str] = {}
    for file, text in changed.items():
        # No .go at its end, or it would be a package of the project's.
        to = directory / f"{file.replace('/', '_')}.replaced"
        to.write_text(text or "")
        replaced[str(ROOT / file)] = "" if text is None else str(to)
    path = directory / "overlay.json"
    path.write_text(json.dumps({"Replace": replaced}))
    return path


def built(overlay: Path) -> Path:
    """Build the library with an overlay, and answer where it is."""
    library = overlay.parent / "libworkflows.so"
    command = ["go", "build", f"-overlay={overlay}", "-buildmode=c-shared"]
    command += ["-trimpath", "-buildvcs=false", "-o", str(library), "./capi"]
    subprocess.run(command, cwd=ROOT, check=True)
    return library
