"""Builds the shared library with Go, and puts it into the wheel.

    pip install ./adapters/python               builds it; needs Go and a C compiler
    WORKFLOWS_LIBRARY=... pip install ...       takes the one that is named
    pip install --editable ./adapters/python    takes none; the package finds build/

An sdist brings the Go sources along, under engine/, so that it can be built where the
repository is not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "libworkflows.so"
NOTICES = "THIRD_PARTY_LICENSES"  # of what is linked into it
MODEL = "github.com/libworkflows/libworkflows/core/model"
SOURCES = ["go.mod", "go.sum", "capi", "core", "include", "migrations", "LICENSE", NOTICES]


class LibraryHook(BuildHookInterface[Any]):
    """Adds the library to wheels, and the Go sources to sdists."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Run before a build."""
        if self.target_name == "sdist":
            build_data["force_include"].update(self.sources())
        elif version != "editable":
            build_data["force_include"][str(self.library())] = f"workflows/_native/{FILE}"
            for notices in (place / NOTICES for place in self.places()):
                if notices.is_file():
                    build_data["force_include"][str(notices)] = f"workflows/_native/{NOTICES}"
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Run after a build."""
        for directory in getattr(self, "scratch", []):
            shutil.rmtree(directory, ignore_errors=True)

    def sources(self) -> dict[str, str]:
        """Answer which Go sources go where in the sdist."""
        engine = self.engine()
        return {str(engine / name): f"engine/{name}" for name in SOURCES}

    def places(self) -> tuple[Path, Path]:
        """Answer where the Go sources are in an sdist, and in a checkout."""
        here = Path(self.root)
        return here / "engine", here.parents[1]

    def engine(self) -> Path:
        """Answer the directory with the Go sources."""
        for candidate in self.places():
            if (candidate / "go.mod").is_file() and (candidate / "capi").is_dir():
                return candidate
        raise SystemExit(
            "libworkflows: the Go sources of the library are neither in engine/ nor two directories"
            " up: build from a checkout of the repository or from an sdist, or set"
            " WORKFLOWS_LIBRARY to the path of a libworkflows.so"
        )

    def library(self) -> Path:
        """Answer the path of the library, building it if none is named."""
        named = os.environ.get("WORKFLOWS_LIBRARY")
        if named:
            path = Path(named).absolute()
            if not path.is_file():
                raise SystemExit(
                    f"libworkflows: WORKFLOWS_LIBRARY names {path}, which is not there"
                )
            return path
        return self.build()

    def build(self) -> Path:
        """Build the library with Go."""
        missing = [tool for tool in ("go", os.environ.get("CC", "gcc")) if not shutil.which(tool)]
        if missing:
            raise SystemExit(
                f"libworkflows: {' and '.join(missing)} not found, and the library is written in Go"
                " with a little C. Install a ready wheel; or install Go and a C compiler; or set"
                " WORKFLOWS_LIBRARY to the path of a libworkflows.so"
            )
        scratch = Path(tempfile.mkdtemp(prefix="libworkflows-"))
        self.scratch = [scratch]
        flags = f"-X {MODEL}.Version={self.metadata.version} -extldflags=-Wl,-soname,{FILE}"
        command = ["go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false"]
        command += ["-ldflags", flags, "-o", str(scratch / FILE), "./capi"]
        environment = {**os.environ, "CGO_ENABLED": "1", "CGO_LDFLAGS_ALLOW": "-Wl,.*"}
        result = subprocess.run(command, cwd=self.engine(), env=environment, check=False)
        if result.returncode != 0:
            raise SystemExit(f"libworkflows: `{' '.join(command)}` failed; its output is above")
        return scratch / FILE
