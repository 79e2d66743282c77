"""A PostgreSQL whose write-ahead log is on a small disk, and what happens when that is full."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fault_clients import within
from fault_extras import fill, finished, tmpfs
from fault_server import FaultServer
from program_generator import Dice

if TYPE_CHECKING:
    from fault_world import World

_SETTINGS = {"max_wal_size": "32MB", "min_wal_size": "2MB", "wal_recycle": "off"}


class SmallLog(FaultServer):
    """A server with segments of 1 MB on a disk of so many."""

    def __init__(self, parent: Path, megabytes: int, **settings: str) -> None:
        super().__init__(parent, **{**_SETTINGS, **settings})
        self._megabytes = megabytes
        self._mounted = False

    @property
    def disk(self) -> Path:
        return self.directory / "data" / "pg_wal"

    def make(self, data: Path) -> None:
        super().make(data)
        self._run("pg_resetwal", "--wal-segsize", "1", "--pgdata", str(data))
        owner, kept = self.disk.stat().st_uid, self.directory / "kept"
        self.disk.rename(kept)
        self._mounted = tmpfs(self._megabytes, owner, self.disk)
        if not self._mounted:
            shutil.rmtree(self.directory)
            raise PermissionError("a disk cannot be mounted here")
        for each in kept.iterdir():
            copied = shutil.move(each, self.disk)
            shutil.chown(copied, owner)
        self.disk.chmod(0o700)

    def revive(self) -> None:
        """Start it if it has not started again by itself, and wait until it answers."""
        if self._process.poll() is None:
            self._await()
        else:
            self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._mounted:
            subprocess.run(["umount", str(self.disk)], check=True)
        super().__exit__()


async def wal_full(world: World) -> None:
    """Fill the disk of the log until PostgreSQL panics, again and again, and make room later."""
    server, dice = world.server, Dice(world.seed)
    assert isinstance(server, SmallLog)
    ballast, resumed = server.disk / "ballast", [0.0]
    deadline = time.monotonic() + world.duration
    while time.monotonic() < deadline:
        await asyncio.sleep(dice.between(2000, 4000) / 1000)
        before = server.log.count(_PANIC)
        await asyncio.to_thread(fill, ballast)
        world.fleet.note("disk_full")

        async def panicked(before: int = before) -> bool:
            return server.log.count(_PANIC) > before

        if not await within(30, panicked):
            world.wrong.append("the disk of the log was full, and PostgreSQL did not panic")
        await asyncio.sleep(dice.between(500, 3000) / 1000)
        ballast.unlink()
        await asyncio.to_thread(server.revive)
        world.fleet.note("disk_room")
        resumed.append(await _resumed(world))
    world.figures["panics"] = server.log.count(_PANIC)
    world.figures["resumed_max_s"] = round(max(resumed), 1)


_PANIC = "PANIC:"


async def _resumed(world: World) -> float:
    """Wait until something goes on, and answer for how long."""
    began, before = time.monotonic(), await finished(world)

    async def goes_on() -> bool:
        return await finished(world) > before or not (await world.left()).strip()

    if not await within(30, goes_on):
        world.wrong.append("nothing went on for 30 s after there was room again")
    return time.monotonic() - began
