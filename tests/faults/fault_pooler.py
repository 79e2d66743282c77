"""A PgBouncer in transaction mode between workers and the rig's PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from fault_server import ROOT, FaultServer

_PLACES = (ROOT / ".tools/pgbouncer/pgbouncer", Path("/usr/sbin/pgbouncer"))
_PORT = 6432


class Pooler:
    """A running PgBouncer; three sessions of PostgreSQL for everybody."""

    def __init__(self, server: FaultServer) -> None:
        self._server = server

    def __enter__(self) -> Self:
        program = next((place for place in _PLACES if place.exists()), None)
        if program is None:
            raise RuntimeError("no PgBouncer is here: make pgbouncer")
        self._directory = Path(tempfile.mkdtemp(prefix="workflows-pooler-"))
        self._directory.chmod(0o777)  # the socket is made by the server's user
        owner = pwd.getpwuid(self._server.socket.stat().st_uid).pw_name
        self._write(f"user = {owner}" if os.geteuid() == 0 else "")
        self._log = (self._directory / "log").open("wb")
        self.version = _version(program)
        self._process = subprocess.Popen(
            [str(program), str(self._directory / "ini")],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + 30
        while not (self._directory / f".s.PGSQL.{_PORT}").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._directory / "log").read_text())
            time.sleep(0.05)
        return self

    def _write(self, account: str) -> None:
        (self._directory / "users").write_text('"bench" ""\n')
        lines = [
            "[databases]",
            f"* = host={self._server.socket.parent} port=5432",
            "[pgbouncer]",
            f"listen_port = {_PORT}",
            f"unix_socket_dir = {self._directory}",
            "unix_socket_mode = 0777",
            "auth_type = trust",
            f"auth_file = {self._directory / 'users'}",
            "pool_mode = transaction",
            "default_pool_size = 6",
            "max_client_conn = 500",
            "server_login_retry = 0.1",
            account,
        ]
        (self._directory / "ini").write_text("\n".join(lines) + "\n")

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def url(self, database: str) -> str:
        return f"postgresql://bench@localhost/{database}?host={self._directory}&port={_PORT}"


def _version(program: Path) -> str:
    told = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True)
    return told.stdout.split()[1]
