"""The rig's PostgreSQL: durable, of its own, and made to be broken."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from server import Server

ROOT = Path(__file__).parents[2]
BINARIES = Path(
    os.environ.get("WORKFLOWS_TEST_POSTGRES_BIN") or ROOT / ".venv" / "postgres" / "bin"
)
TABLES = ("executions", "history", "timers", "workers", "audit")
SCHEMA = "workflows"

# Rows that are only there to be many are nobody's: nothing was asked of them, nor written down.
BALLAST = "fault.ballast"
_WANTED = {"executions": f" WHERE name <> '{BALLAST}'"}

_SETTINGS = {
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "log_line_prefix": "'%m [%p] %a '",
    "log_lock_waits": "on",
    # Sooner than the engine's own lock_timeout, or no deadlock would ever be counted.
    "deadlock_timeout": "100ms",
    "log_checkpoints": "off",
}


class FaultServer(Server):
    """A server that can be crashed, stopped and started, and whose tables can be dumped."""

    def __init__(self, parent: Path, **settings: str) -> None:
        super().__init__(BINARIES, parent, **{**_SETTINGS, **settings})

    def crash(self) -> None:
        """End it as a power cut ends it for its clients: `pg_ctl stop -m immediate`."""
        self.stop(signal.SIGQUIT)

    def insist_on_standbys(self) -> None:
        """Acknowledge no commit from now on before a standby has applied it."""
        self.query("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
        self.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.query("SELECT pg_reload_conf()")

    @property
    def log(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")

    @property
    def socket(self) -> Path:
        """Where it listens, for a proxy before it."""
        return self._sockets / ".s.PGSQL.5432"

    def standby(self) -> Standby:
        """Answer a server that follows this one, and may be let run ahead of."""
        return Standby(self)

    def run_file(self, path: Path, database: str) -> None:
        """Run a file of SQL in the schema of the rig."""
        self.query(f"SET search_path = {SCHEMA}, pg_catalog; {path.read_text()}", database)

    def dump(self, database: str, directory: Path) -> None:
        """Write each table that there is into a CSV file of its name."""
        for table in TABLES:
            if self.query(f"SELECT to_regclass('{SCHEMA}.{table}')", database).strip():
                asked = f"SELECT * FROM {SCHEMA}.{table}{_WANTED.get(table, '')}"
                copy = f"COPY ({asked}) TO STDOUT (FORMAT csv, HEADER)"
                with (directory / f"{table}.csv").open("wb") as file:
                    subprocess.run(
                        [
                            str(self.binaries / "psql"),
                            *("--quiet", "--no-psqlrc", "--command", copy, self.url(database)),
                        ],
                        stdout=file,
                        check=True,
                        cwd="/",
                        **self._account,
                    )


class Standby(FaultServer):
    """A replica, read-only until it is promoted."""

    def __init__(self, primary: FaultServer) -> None:
        super().__init__(ROOT / "build" / "faults")
        self._primary = primary

    def make(self, data: Path) -> None:
        conninfo = f"host={self._primary.socket.parent} user=bench"
        self._run(
            *("pg_basebackup", "--pgdata", str(data), "--write-recovery-conf"),
            *("--checkpoint", "fast", "--dbname", conninfo),
        )

    def prepare(self) -> None:
        """Wait for nothing: it has what its primary had."""

    def fall_behind(self) -> None:
        """Hear no more of the primary, as over a network that is slow or away."""
        self.query("ALTER SYSTEM SET primary_conninfo = ''")
        self.query("SELECT pg_reload_conf()")

    def promote(self) -> None:
        self.query("SELECT pg_promote(true, 60)")
