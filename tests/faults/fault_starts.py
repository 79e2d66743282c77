"""Many first starts at once on an empty database, some of which die while they migrate it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fault_server import ROOT
from program_generator import Dice

if TYPE_CHECKING:
    from fault_world import World

_AT_ONCE = 50
# Every so many-th lives, so that in the end somebody has migrated.
_SPARED = 5
# Only who migrates comes by these, but for the first, where the others learn that they wait.
_POINTS = (
    "after:=migrate_begin:1",
    "before:=migrate_file:1",
    "after:=migrate_file:1",
    "before:=migrate_file:2",
    "after:=migrate_file:2",
    "before:=migrate_commit:1",
    "after:=migrate_commit:1",
)


async def first_starts(world: World) -> None:
    """Fifty processes migrate an empty database at once; in every other round many are to die."""
    await asyncio.to_thread(_build)
    dice, took, rounds, errors, killed = Dice(world.seed), [0.0], 0, 0, 0
    deadline = time.monotonic() + world.duration
    while time.monotonic() < deadline or rounds < 2:
        rounds += 1
        name = f"empty{rounds}"
        await asyncio.to_thread(world.server.query, f"CREATE DATABASE {name} TEMPLATE template0")
        began, url = time.monotonic(), world.server.url(name)
        codes = await asyncio.gather(*(_start(url, each) for each in doom(dice, rounds)))
        if rounds % 2:
            took.append(time.monotonic() - began)
        for _ in range(codes.count(-9)):
            world.fleet.note("kill9_migration")
        killed += codes.count(-9)
        errors += sum(code not in (0, -9) for code in codes)
        if await _start(url) != 0:
            world.wrong.append(f"database {name} cannot be migrated any more")
    world.figures |= {"first_starts": _AT_ONCE * rounds, "start_errors": errors}
    world.figures["first_starts_max_s"] = round(max(took), 1)
    world.figures["killed_while_migrating"] = killed
    if errors:
        world.wrong.append(f"{errors} of {_AT_ONCE * rounds} first starts failed")


def doom(dice: Dice, rounds: int) -> Sequence[str]:
    """Answer where each process of a round dies, if it comes there; nothing for who is spared."""
    if rounds % 2:
        return [""] * _AT_ONCE
    return [dice.pick(_POINTS) if n % _SPARED else "" for n in range(_AT_ONCE)]


async def _start(url: str, dies: str = "") -> int:
    """Migrate in a process of its own, and answer its code."""
    process = await asyncio.create_subprocess_exec(
        _command("failpoints" if dies else ""),
        *("--database-url", url, "migrate", "up"),
        stdout=subprocess.DEVNULL,
        env={**os.environ, "WORKFLOWS_FAILPOINTS": f"{dies}:kill"} if dies else None,
    )
    return await process.wait()


def _command(tags: str) -> str:
    return str(ROOT / "build" / "faults" / f"workflows{tags and '-'}{tags}")


def _build() -> None:
    for tags in ("", "failpoints"):
        command = ["go", "build", "-tags", tags, "-o", _command(tags), "./core/cmd/workflows"]
        subprocess.run(command, cwd=ROOT, check=True)
