"""The world of one run: a PostgreSQL, workers, clients, a nemesis, and journals of all of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_clients import Clients, within
from fault_clock import build_clock, clock_off_by
from fault_disks import SmallLog
from fault_extras import tmpfs
from fault_fleet import GRACE, HEARTBEAT_TIMEOUT, POLL, Fleet, Surroundings
from fault_journal import now
from fault_nemesis import Faults, Nemesis
from fault_pooler import Pooler
from fault_proxy import Proxy
from fault_server import ROOT, SCHEMA, FaultServer
from fault_workload import LANGUAGES, MIX, Workload
from workflows import Client, WorkflowsError

HERE = Path(__file__).parent
DATABASE = "faults"
# How long everything may take to come to its end, once the faults have stopped.
PATIENCE = 90.0
# For a machine that does other things as well, and for inserts that commit late; what is lost for
# good, such as a wake-up, still shows.
_LEEWAY = {"wake_slack_ms": 2000, "recovery_slack_ms": 2000, "grace_ms": 4000}
# Where nothing is broken, what can run has to be claimed within two polls and this.
NO_FAULTS = {"wake_slack_ms": 100, "recovery_slack_ms": 100}
_TROUBLE = ("failed inside the adapter", "panicked", "Segmentation", "fatal error", "Traceback")


@dataclass(frozen=True)
class Scenario:
    """What is done, under which faults, and by whom."""

    name: str
    row: str
    about: str
    faults: Faults = field(default_factory=Faults)
    mix: Mapping[str, int] = field(default_factory=lambda: MIX)
    languages: Sequence[str] = LANGUAGES
    fleet: Mapping[str, int] = field(default_factory=lambda: {"python": 2, "node": 2})
    players: int = 24
    # How many items, at most; without it time alone ends the run.
    items: int | None = None
    concurrency: int = 16
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    proxied: bool = False
    # Whether the clients go through the proxy as well.
    proxied_clients: bool = False
    # Whether every other worker is spared what happens to the network.
    halved: bool = False
    # Whether workers and clients go through PgBouncer.
    pooled: bool = False
    # What the database says of its sessions.
    defaults: Mapping[str, str] = field(default_factory=dict[str, str])
    # Of the disk that the data is on, in MB; root only.
    disk_mb: int | None = None
    # Of the disk that the write-ahead log is on, in MB; root only.
    wal_mb: int | None = None
    # By how many seconds the database's clock is ahead of ours, and those of its workers are.
    clock_s: int = 0
    clocks: Sequence[int] = ()
    # What a scenario does beside the nemesis, and finds.
    also: Callable[[World], Awaitable[None]] | None = None
    # What the checker is to put up with: see its limits.
    allows: Mapping[str, float | bool] = field(default_factory=dict[str, float | bool])
    # What its figures must be at most.
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    # And at least: a fault that nothing came of has proved nothing.
    floors: Mapping[str, float] = field(default_factory=dict[str, float])
    # Figures that it is about, which are told even if they are nothing.
    tells: Sequence[str] = ()


class Skipped(Exception):
    """This machine has not what a scenario needs."""


class World:
    """All of a run, while it lasts."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        duration: float,
        directory: Path,
        patience: float = PATIENCE,
    ) -> None:
        self.scenario = scenario
        self.patience = patience
        self.seed = seed
        self.duration = duration
        self.directory = directory
        self.figures: dict[str, Any] = {}
        self.wrong: list[str] = []
        # Servers that have been lost.
        self._before: list[FaultServer] = []
        # Set to end a run before its time, as Ctrl-C does.
        self.enough = asyncio.Event()

    async def run(self) -> None:
        """Live through it, and leave everything that the checker reads in the directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._serve() as self.server:
            async with contextlib.AsyncExitStack() as self.stack:
                await self._prepare(self.stack)
                await self._live()
                await self._part()

    @contextlib.contextmanager
    def _serve(self) -> Generator[FaultServer]:
        scenario, settings = self.scenario, dict(self.scenario.settings)
        if scenario.wal_mb:
            server = SmallLog(ROOT / "build" / "faults", scenario.wal_mb, **settings)
        else:
            server = FaultServer(ROOT / "build" / "faults", **settings)
        if scenario.clock_s or scenario.clocks:
            build_clock()
        server.environment = clock_off_by(scenario.clock_s)
        with contextlib.ExitStack() as stack:
            try:
                yield stack.enter_context(server)
            except PermissionError as refused:
                raise Skipped("a small disk can only be mounted by root") from refused

    def move(self, server: FaultServer) -> None:
        """Have everybody who goes through the proxy find another server from now on."""
        self._route.unlink()
        self._route.symlink_to(server.socket)
        self._before.append(self.server)
        self.server = self.nemesis.server = server

    # --- the beginning ---

    async def _prepare(self, stack: contextlib.AsyncExitStack) -> None:
        self._create_database(stack)
        direct = self.server.url(DATABASE)
        self.proxy = None
        self.pooler = stack.enter_context(Pooler(self.server)) if self.scenario.pooled else None
        if self.scenario.proxied:
            self._route = self.directory / "postgres.socket"
            self._route.symlink_to(self.server.socket)
            proxy = Proxy(self.directory, self._route)
            self.proxy = await stack.enter_async_context(proxy)
        self.client = await stack.enter_async_context(self._client(direct))
        await self.client.migrate()
        self.server.run_file(HERE / "audit.sql", DATABASE)
        for name, value in self.scenario.defaults.items():
            self.server.query(f"ALTER DATABASE {DATABASE} SET {name} = '{value}'")
        self._write_meta()
        if self.scenario.clock_s:
            self.figures["clock_ahead_s"] = round(self._clock_ahead())
        workload = Workload(self.seed, self.scenario.mix, self.scenario.languages)
        self.clients = Clients(self.client, self.directory, workload, self.scenario.players)
        self.clients.limit = self.scenario.items
        self.clients.may_lose = bool(self.scenario.allows.get("lost_acks"))
        self.fleet = Fleet(
            Surroundings(
                self.directory,
                self._worker_urls(direct),
                concurrency=self.scenario.concurrency,
                more=self.scenario.environment,
                clocks=self.scenario.clocks,
            ),
            self.scenario.fleet,
        )
        self.nemesis = Nemesis(self.seed, self.scenario.faults, self.fleet, self.server, self.proxy)
        stack.callback(self.fleet.clear_away)

    def _client(self, direct: str) -> Client:
        """Answer what the clients share; through a pooler nobody can listen."""
        if self.pooler:
            url = self.pooler.url(DATABASE)
            return Client(url, schema=SCHEMA, pool_size=8, listen_url="off")
        url = self._through_proxy() if self.scenario.proxied_clients else direct
        return Client(url, schema=SCHEMA, pool_size=8)

    def _create_database(self, stack: contextlib.AsyncExitStack) -> None:
        """Make the database, on a small disk of its own if the scenario is about that."""
        self.disk, place = None, ""
        if size := self.scenario.disk_mb:
            self.disk = self.server.directory / "disk"
            if not tmpfs(size, self.server.socket.stat().st_uid, self.disk):
                raise Skipped("a small disk can only be mounted by root")
            stack.callback(self._give_back_disk)
            (self.disk / "data").mkdir()
            shutil.chown(self.disk / "data", self.server.socket.stat().st_uid)
            self.server.query(f"CREATE TABLESPACE small LOCATION '{self.disk / 'data'}'")
            place = " TABLESPACE small"
        self.server.query(f"CREATE DATABASE {DATABASE} TEMPLATE template0{place}")

    def _give_back_disk(self) -> None:
        self.server.query(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        self.server.query("DROP TABLESPACE small")
        subprocess.run(["umount", str(self.disk)], check=True)

    def _worker_urls(self, direct: str) -> list[str]:
        """Answer where workers find the database: in a scenario of halves, some are spared."""
        if self.pooler:
            return [self.pooler.url(DATABASE)]
        if not self.proxy:
            return [direct]
        return [self._through_proxy(), direct] if self.scenario.halved else [self._through_proxy()]

    def _through_proxy(self) -> str:
        assert self.proxy is not None
        return f"postgresql://bench@{self.proxy.listen}/{DATABASE}?sslmode=disable"

    def _clock_ahead(self) -> float:
        """Answer by how much the database's clock is ahead of ours, which is to be so."""
        asked = self.server.query("SELECT extract(epoch FROM clock_timestamp())")
        ahead = float(asked) - time.time()
        if abs(ahead - self.scenario.clock_s) > 5:
            self.wrong.append(f"the database's clock is ahead by {ahead:.0f} s")
        return ahead

    def _write_meta(self) -> None:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        meta = {
            "seed": self.seed,
            "commit": commit,
            "scenario": self.scenario.name,
            "heartbeat_timeout_ms": round(HEARTBEAT_TIMEOUT * 1000),
            "poll_ms": round(POLL * 1000),
            "limits": {**_LEEWAY, **self.scenario.allows},
            "boottime_offset_ns": time.time_ns() - now() + self.scenario.clock_s * 10**9,
        }
        (self.directory / "meta.json").write_text(json.dumps(meta))

    # --- the middle ---

    async def _live(self) -> None:
        self.fleet.muster()
        supervising = asyncio.create_task(self.fleet.supervise())
        try:
            if not await within(60, self._all_work):
                raise RuntimeError("no worker started: " + self.fleet.members[0].process.output)
            await self._load()
        finally:
            supervising.cancel()
            await asyncio.gather(supervising, return_exceptions=True)

    async def _all_work(self) -> bool:
        return all(member.works for member in self.fleet.members)

    async def _load(self) -> None:
        """Have clients play, and faults happen, for the time given; then wait for what is left."""
        playing = asyncio.create_task(self.clients.play())
        tasks = {playing}
        async with self._haunted():
            beside: set[asyncio.Task[None]] = set()
            if self.scenario.also:
                beside.add(asyncio.create_task(self._also()))
                tasks |= beside
            enough = asyncio.create_task(self.enough.wait())
            await self._until_over({playing, enough}, tasks)
            if beside:  # the load goes on as long as that takes
                await asyncio.wait(beside, timeout=self.patience)
            enough.cancel()
        self.fleet.journal.note("calm", at=now())
        self.clients.ending = True
        began = time.monotonic()
        _, pending = await asyncio.wait(tasks, timeout=self.patience)
        for task in pending:
            task.cancel()
        for came in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(came, Exception):
                raise came
        if pending:
            self.wrong.append(f"clients still waited {self.patience:g} s after the last fault")
        if not await within(max(10, self.patience - time.monotonic() + began), self._nothing_left):
            self.wrong.append(f"executions are left: {await self.left()}")
        self.figures["calm_s"] = round(time.monotonic() - began, 1)

    async def _until_over(
        self, enders: set[asyncio.Task[Any]], tasks: set[asyncio.Task[Any]]
    ) -> None:
        """Wait for the time to pass, for clients without more to do, or for Ctrl-C."""
        done, _ = await asyncio.wait(
            enders, timeout=self.duration, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done & tasks:
            task.result()

    @contextlib.asynccontextmanager
    async def _haunted(self) -> AsyncGenerator[None]:
        haunting = asyncio.create_task(self.nemesis.haunt())
        try:
            yield
        finally:
            haunting.cancel()
            [came] = await asyncio.gather(haunting, return_exceptions=True)
        if isinstance(came, Exception):
            raise came

    async def _also(self) -> None:
        assert self.scenario.also is not None
        await self.scenario.also(self)

    async def left(self) -> str:
        """Answer what has not ended and is not parked; nothing if there is nothing."""
        return await asyncio.to_thread(
            self.server.query,
            f"SELECT count(*), min(id::text), array_agg(DISTINCT name || ' ' || status)"
            f" FROM {SCHEMA}.executions"
            " WHERE finished_at IS NULL AND parked IS NULL HAVING count(*) > 0",
            DATABASE,
        )

    async def _nothing_left(self) -> bool:
        try:
            return not (await self.left()).strip()
        except RuntimeError:
            return False

    # --- the end ---

    async def _part(self) -> None:
        """Have workers drain; nothing of them may be left in the database then."""
        for name in self.scenario.defaults:
            self.server.query(f"ALTER DATABASE {DATABASE} RESET {name}")
        if self.proxy:
            self.figures["proxy"] = await self.proxy.do("stats")
        killed = [*self.fleet.overdue, *await self.fleet.dismiss(GRACE)]
        self.figures["killed_after_term"] = len(killed)
        if killed:
            self.wrong.append(f"workers did not end within {GRACE:g} s of SIGTERM: {killed}")
        with contextlib.suppress(WorkflowsError):
            await asyncio.to_thread(self.client.close)
        listed = "".join(f'"{session}"\n' for session in await self._sessions_left())
        (self.directory / "sessions.csv").write_text("session\n" + listed)
        self.fleet.journal.note("over", at=now())
        self.server.dump(DATABASE, self.directory)
        self._look_at_logs()
        (self.directory / "server.log").write_text(self.server.log)

    async def _sessions_left(self) -> list[str]:
        """Wait until nobody is connected any more, and answer who still is in the end.

        Who asks leaves a session itself, which may be seen by who asks next.
        """
        left: list[str] = []

        async def nobody_there() -> bool:
            left[:] = self._sessions().replace('"', "'").splitlines()
            return not left

        await within(10, nobody_there)
        return left

    def _sessions(self) -> str:
        """Answer who is still connected; idle ones of a pooler are its own."""
        idle = " AND state <> 'idle'" if self.pooler else ""
        return self.server.query(_SESSIONS + idle, DATABASE).strip()

    def _look_at_logs(self) -> None:
        for member in self.fleet.everybody:
            for trouble in _TROUBLE:
                if trouble in member.process.output:
                    self.wrong.append(f"{trouble!r} is in the log of {member.name}")
        logs = [server.log for server in (*self._before, self.server)]
        self.figures["deadlocks"] = sum(log.count("deadlock detected") for log in logs)


_SESSIONS = (
    "SELECT pid, state, left(replace(query, chr(10), ' '), 80) FROM pg_stat_activity"
    f" WHERE datname = '{DATABASE}' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
