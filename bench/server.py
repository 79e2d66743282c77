"""A PostgreSQL of the benchmark's own, and what processes have used of the processor."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
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
    # Counts nothing but in a database where an idle worker is measured.
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "none",
}


class Server:
    """A server that runs as long as its `with` block."""

    def __init__(self, binaries: Path, parent: Path, **settings: str) -> None:
        self.binaries = binaries
        self.settings = {**SETTINGS, **settings}
        self._parent = parent
        self._account = _account()
        self._made = 0
        # What the server's process is given beside our own environment.
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._parent.mkdir(parents=True, exist_ok=True)
        self.directory = Path(tempfile.mkdtemp(prefix="postgres-", dir=self._parent))
        # A socket's path is short by law, and the checkout's may be long.
        self._sockets = Path(tempfile.mkdtemp(prefix="workflows-bench-"))
        for path in (self.directory, self._sockets):
            if self._account:
                shutil.chown(path, self._account["user"], self._account["group"])
        self.make(self.directory / "data")
        self._log = (self.directory / "server.log").open("ab")
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        self.prepare()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._log.close()
        shutil.rmtree(self._sockets, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def make(self, data: Path) -> None:
        """Make what the server runs on."""
        self._run(
            *("initdb", "--pgdata", str(data), "--username", "bench", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-instructions"),
            *(["--no-sync"] if self.settings["fsync"] == "off" else []),
        )

    def prepare(self) -> None:
        """Do what a new server needs, once it runs."""
        self.query("CREATE EXTENSION pg_stat_statements")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = [f"--{name}={value.strip(chr(39))}" for name, value in self.settings.items()]
        data = str(self.directory / "data")
        self._process = subprocess.Popen(
            [str(self.binaries / "postgres"), "-D", data, "-k", str(self._sockets), *settings],
            stdout=self._log,
            stderr=self._log,
            cwd="/",
            env={**os.environ, **self.environment},
            start_new_session=True,
            **self._account,
        )
        self._await()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT is a fast shutdown, SIGQUIT an immediate one, as after a crash."""
        self._process.send_signal(how)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The server's first process."""
        return self._process.pid

    @property
    def version(self) -> str:
        return self._run("postgres", "--version").split()[2]

    @contextlib.contextmanager
    def database(self, *, counted: bool = False) -> Generator[Database]:
        """Make an empty database, which is dropped at the end of the `with` block.

        Args:
            counted: Have its statements counted, which costs some processor time.
        """
        self._made += 1
        name = f"bench{self._made}"
        self.query(f"CREATE DATABASE {name} TEMPLATE template0")
        if counted:
            self.query(f"ALTER DATABASE {name} SET pg_stat_statements.track = 'top'")
        self.query("CHECKPOINT")
        with Psql(self._psql(), self._account) as psql:
            yield Database(name, self.url(name), psql)
        self.query(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        """Answer the URL of a database of this server."""
        # Some need a host before they look for the socket.
        return f"postgresql://bench@localhost/{name}?host={self._sockets}"

    def _psql(self) -> list[str]:
        return [
            str(self.binaries / "psql"),
            *("--quiet", "--no-psqlrc", "--no-align", "--tuples-only", self.url("postgres")),
        ]

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

    def query(self, text: str, database: str = "postgres", *, aligned: bool = False) -> str:
        """Run SQL and answer what psql prints, as a table or bare."""
        options = ["--quiet", "--no-psqlrc"]
        if not aligned:
            options += ["--no-align", "--tuples-only"]
        return self._run("psql", *options, "--command", text, self.url(database))

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


class Psql:
    """A psql that stays connected, so that a question takes no longer than its answer."""

    def __init__(self, command: list[str], account: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", **account
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ask(self, question: str) -> str:
        """Run a query and answer its one row."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(question + ";\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"psql ended after: {question}")
        return answer.strip()


@dataclass(frozen=True)
class Database:
    """A database in which one contestant is measured, once."""

    name: str
    url: str
    psql: Psql

    def wal(self) -> int:
        """Answer how much the server has written ahead since it began, in bytes."""
        return int(self.psql.ask("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))

    def statements(self) -> int:
        """Answer how many statements clients have had run in this database, BEGINs and all."""
        return int(
            self.psql.ask(
                "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s"
                f" JOIN pg_database d ON d.oid = s.dbid WHERE datname = '{self.name}'"
            )
        )


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
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _processes() -> dict[int, list[str]]:
    """Answer each process's fields of /proc/PID/stat that follow its name."""
    found: dict[int, list[str]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):  # it has just ended
            found[int(entry)] = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
    return found


def _family(root: int, processes: dict[int, list[str]]) -> Generator[list[str]]:
    children: dict[int, list[int]] = {}
    for pid, fields in processes.items():
        children.setdefault(int(fields[1]), []).append(pid)
    todo = [root]
    while todo:
        pid = todo.pop()
        if pid in processes:
            yield processes[pid]
        todo += children.get(pid, [])


def cpu_seconds(root: int) -> float:
    """Answer the processor time of a process, its children, and those that have ended."""
    # User, system, and both of reaped children.
    return sum(sum(map(int, fields[11:15])) for fields in _family(root, _processes())) / _TICK


def resident_bytes(root: int) -> int:
    """Answer the memory that a process and its children occupy."""
    return sum(int(fields[21]) for fields in _family(root, _processes())) * _PAGE
