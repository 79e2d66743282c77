"""The programs that are measured, and how each comes to be there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "bench"
BUILD = ROOT / "build" / "bench"
LIBRARY = BUILD / "libworkflows.so"

CEILING = "sql"


@dataclass(frozen=True)
class Contestant:
    """A program that is measured.

    `bare` is a process of the same language that does nothing: an idle worker's memory
    is compared with it.
    """

    name: str
    title: str
    command: list[str]
    build: Callable[[], None] = lambda: None
    bare: list[str] = field(default_factory=list[str])
    peer: bool = False


def check(command: list[str], **environment: str) -> None:
    """Run a command that has to succeed."""
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    if ended.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{ended.stdout}{ended.stderr}")


def keep_library() -> None:
    """Copy the library, so that a build that goes on meanwhile does not change what is measured."""
    draft = LIBRARY.with_suffix(f".{os.getpid()}")
    shutil.copy(os.environ.get("WORKFLOWS_LIBRARY", ROOT / "build/libworkflows.so"), draft)
    draft.replace(LIBRARY)


# --- this project's ---------------------------------------------------------------------


def _build_ceiling() -> None:
    check(["go", "build", "-C", str(BENCH), "-o", str(BUILD / "ceiling"), "./ceiling"])


def _build_c() -> None:
    check(
        [
            *(os.environ.get("CC", "cc"), "-std=c99", "-O2", "-pthread"),
            *("-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'include'}"),
            *map(str, sorted((BENCH / "c").glob("*.c"))),
            *("-o", str(BUILD / "c"), str(LIBRARY), f"-Wl,-rpath,{BUILD}"),
        ]
    )


def node() -> str:
    """Answer the Node that runs all contestants in TypeScript, without a compiler."""
    ours = ROOT / ".tools/node-24/bin/node"
    return os.environ.get("BENCH_NODE") or (str(ours) if ours.exists() else "node")


NODE = [node(), "--no-warnings"]
BARE_NODE = [*NODE, str(BENCH / "node/bare.ts")]
WAIT = "import time; time.sleep(1e6)"

OWN = [
    Contestant(CEILING, "raw SQL", [str(BUILD / "ceiling")], _build_ceiling),
    Contestant("c", "C ABI", [str(BUILD / "c")], _build_c, ["sleep", "1000000"]),
    Contestant("node", "Node", [*NODE, str(BENCH / "node/contestant.ts")], bare=BARE_NODE),
    Contestant(
        "python",
        "Python",
        [sys.executable, str(BENCH / "python/contestant.py")],
        bare=[sys.executable, "-c", WAIT],
    ),
]


# --- the others' ------------------------------------------------------------------------

PEERS_NODE = BENCH / "peers/node"
PEERS_PYTHON = BENCH / "peers/python"
PEERS_GO = BENCH / "peers/go"
VENV = BUILD / "venv"


def _fresh(stamp: Path, manifest: Path) -> bool:
    return stamp.exists() and stamp.read_text() == manifest.read_text()


def _install_node() -> None:
    stamp, manifest = PEERS_NODE / "node_modules/.bench", PEERS_NODE / "package-lock.json"
    if not _fresh(stamp, manifest):
        check(["npm", "ci", "--prefix", str(PEERS_NODE), "--loglevel=error"])
        shutil.copy(manifest, stamp)


def _install_python() -> None:
    stamp, manifest = VENV / ".bench", PEERS_PYTHON / "requirements.txt"
    if not _fresh(stamp, manifest):
        check([sys.executable, "-m", "venv", "--clear", str(VENV)])
        check([str(VENV / "bin/pip"), "install", "--quiet", "--requirement", str(manifest)])
        shutil.copy(manifest, stamp)


def _install_absurd() -> None:
    """Its SQL comes with a command line in Python."""
    _install_node()
    _install_python()


def _build_go() -> None:
    for program in ("river", "dbos", "bare"):
        check(
            ["go", "build", "-C", str(PEERS_GO), "-o", str(BUILD / program), f"./{program}"],
            CGO_ENABLED="0",
        )


def _node_peer(name: str, title: str, build: Callable[[], None] = _install_node) -> Contestant:
    script = str(PEERS_NODE / f"{name}.ts")
    return Contestant(name, title, [*NODE, script], build, BARE_NODE, peer=True)


def _go_peer(name: str, title: str, program: str) -> Contestant:
    bare = [str(BUILD / "bare")]
    return Contestant(name, title, [str(BUILD / program)], _build_go, bare, peer=True)


def _python_peer(name: str, title: str, script: str) -> Contestant:
    python = str(VENV / "bin/python")
    command = [python, str(PEERS_PYTHON / script)]
    return Contestant(name, title, command, _install_python, [python, "-c", WAIT], peer=True)


PEERS = [
    _node_peer("graphile-worker", "graphile-worker"),
    _node_peer("pg-boss", "pg-boss"),
    _go_peer("river", "River", "river"),
    _python_peer("procrastinate", "procrastinate", "queue_procrastinate.py"),
    _go_peer("dbos-go", "DBOS Go", "dbos"),
    _node_peer("dbos-ts", "DBOS TypeScript"),
    _python_peer("dbos-python", "DBOS Python", "workflows_dbos.py"),
    _node_peer("absurd", "absurd", _install_absurd),
]

CONTESTANTS = OWN + PEERS
