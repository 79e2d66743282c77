"""A PostgreSQL of the benchmark's own, and what processes have used of the processor."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

# Durable as by default; only the checkpoints, which a run of seconds cannot average
# out, are kept from falling into it.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "listen_addresses": "''",
}


class Server:
    """A server that runs as long as its `with` block."""

    def __init__(self, binaries: Path, parent: Path) -> None:
        self.binaries = binaries
        self._parent = parent
        self._account = _account()
        self._made = 0

    def __enter__(self) -> Self:
        self._parent.mkdir(parents=True, exist_ok=True)
        self.directory = Path(tempfile.mkdtemp(prefix="postgres-", dir=self._parent))
        # A socket's path is short by law, and the checkout's may be long.
        self._sockets = Path(tempfile.mkdtemp(prefix="workflows-bench-"))
        for path in (self.directory, self._sockets):
            if self._account:
                shutil.chown(path, self._account["user"], self._account["group"])
        data = self.directory / "data"
        self._run(
            *("initdb", "--pgdata", str(data), "--username", "bench", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-instructions"),
        )
        settings = [f"--{name}={value.strip(chr(39))}" for name, value in SETTINGS.items()]
        self._log = (self.directory / "server.log").open("wb")
        self._process = subprocess.Popen(
            [str(self.binaries / "postgres"), "-D", str(data), "-k", str(self._sockets), *settings],
            stdout=self._log,
            stderr=self._log,
            cwd="/",
            start_new_session=True,
            **self._account,
        )
        try:
            self._await()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        shutil.rmtree(self._sockets, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The server's first process."""
        return self._process.pid

    @property
    def version(self) -> str:
        return self._run("postgres", "--version").split()[2]

    def new_database(self) -> str:
        """Make an empty database and answer its URL; the one before is dropped."""
        if self._made:
            self.query(f"DROP DATABASE bench{self._made} WITH (FORCE)")
        self._made += 1
        self.query(f"CREATE DATABASE bench{self._made} TEMPLATE template0")
        self.query("CHECKPOINT")
        return f"postgresql://bench@/bench{self._made}?host={self._sockets}"

    def _await(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.query("SELECT 1")
                return
            except RuntimeError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.1)

    def query(self, text: str) -> str:
        """Run SQL in the database postgres and answer what psql prints."""
        url = f"postgresql://bench@/postgres?host={self._sockets}"
        return self._run("psql", "--quiet", "--no-psqlrc", "--command", text, url)

    def _run(self, program: str, *arguments: str) -> str:
        ended = subprocess.run(
            [str(self.binaries / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **self._account,
        )
        if ended.returncode != 0:
            raise RuntimeError(f"{program} failed: {ended.stderr.strip()}")
        return ended.stdout


def _account() -> dict[str, Any]:
    """Answer as whom to run: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL does not run as root: add a user postgres, or run as another")


_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(root: int) -> float:
    """Answer the processor time of a process, its children, and those that have ended."""
    children: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        pid = int(entry)
        children.setdefault(int(fields[1]), []).append(pid)
        used[pid] = sum(map(int, fields[11:15]))  # user, system, and both of reaped children
    total, todo = 0, [root]
    while todo:
        pid = todo.pop()
        total += used.get(pid, 0)
        todo += children.get(pid, [])
    return total / _TICK
