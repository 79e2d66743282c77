"""What some scenarios do beside the nemesis, and what they find."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from fault_clients import Caller, insisted, within
from fault_server import SCHEMA
from fault_workload import Item, Signal
from program_generator import Dice
from workflows import Client

if TYPE_CHECKING:
    from fault_world import World

_DATABASE = "faults"


async def lose_notifications(world: World) -> None:
    """No NotificationResponse gets through, from the first to the last."""
    assert world.proxy is not None
    await world.proxy.do("swallow_notifications")
    world.fleet.note("swallow_notifications")


# --- the server's limits ---------------------------------------------------------------------


async def disk_full(world: World) -> None:
    """Fill the disk of the data again and again, and make room a little later."""
    assert world.disk is not None
    ballast, dice = world.disk / "ballast", Dice(world.seed)
    deadline, resumed = time.monotonic() + world.duration, [0.0]
    while time.monotonic() < deadline:
        await asyncio.sleep(dice.between(2000, 4000) / 1000)
        await asyncio.to_thread(fill, ballast)
        world.fleet.note("disk_full")
        await asyncio.sleep(dice.between(1500, 4000) / 1000)
        ballast.unlink()
        world.fleet.note("disk_room")
        began, before = time.monotonic(), await finished(world)

        async def goes_on(before: int = before) -> bool:
            return await finished(world) > before or not (await world.left()).strip()

        if not await within(30, goes_on):
            world.wrong.append("nothing went on for 30 s after there was room again")
        resumed.append(time.monotonic() - began)
    world.figures["resumed_max_s"] = round(max(resumed), 1)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))


async def finished(world: World) -> int:
    query = f"SELECT count(*) FROM {SCHEMA}.executions WHERE finished_at IS NOT NULL"
    return int((await _rows(world, query))[0])


async def _rows(world: World, query: str) -> list[str]:
    return (await asyncio.to_thread(world.server.query, query, _DATABASE)).split()


async def queue_of_notifications(world: World) -> None:
    """A listener idle in a transaction keeps the queue of NOTIFY from being cut: it runs full."""
    held = await asyncio.create_subprocess_exec(
        str(world.server.binaries / "psql"),
        *("--quiet", "--no-psqlrc", world.server.url(_DATABASE)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert held.stdin is not None
    assert held.stdout is not None
    held.stdin.write(b"SET idle_in_transaction_session_timeout = 0; LISTEN flood;\n")
    held.stdin.write(b"BEGIN; SELECT 1;\n")
    await held.stdin.drain()
    await held.stdout.readline()
    flood = "SELECT pg_notify('flood', repeat('x', 7000) || n) FROM generate_series(1, 5000) n"
    deadline = time.monotonic() + world.duration
    with contextlib.suppress(RuntimeError):  # full
        while time.monotonic() < deadline:
            await _rows(world, flood)
    world.fleet.note("notify_queue_full")
    usage = await _rows(world, "SELECT round(100 * pg_notification_queue_usage())")
    world.figures["notify_queue_percent"] = int(usage[0])
    if int(usage[0]) < 90:
        world.wrong.append(f"the queue of notifications did not run full: {usage[0]} %")
    await asyncio.sleep(max(0, deadline - time.monotonic()))
    held.kill()
    await held.wait()


# --- a pooler ----------------------------------------------------------------------------------


async def cost_of_pooler(world: World) -> None:
    """Measure what ends in a second, then the same with workers that go directly; then haunt.

    Both poll, for a pooler passes no notification on, and so that nothing else is different.
    """
    assert world.pooler is not None
    deadline = time.monotonic() + world.duration
    world.figures["pgbouncer"] = world.pooler.version
    world.nemesis.rests = True
    pooled = await _rate(world)
    await _move(world, world.server.url(_DATABASE))
    direct = await _rate(world)
    await _move(world, world.pooler.url(_DATABASE))
    world.nemesis.rests = False
    world.figures |= {"ended_a_second_direct": direct, "ended_a_second_pooled": pooled}
    world.figures["pooler_divides_by"] = round(direct / max(pooled, 1), 2)
    await asyncio.sleep(max(0, deadline - time.monotonic()))


async def _rate(world: World) -> int:
    """Answer how many executions end in a second, over a while."""
    began, before = time.monotonic(), await finished(world)
    await asyncio.sleep(max(4, world.duration / 6))
    return round((await finished(world) - before) / (time.monotonic() - began))


async def _move(world: World, url: str) -> None:
    old = set(world.fleet.members)
    world.fleet.send_to([url])

    async def moved() -> bool:
        members = world.fleet.members
        return not old & set(members) and all(member.works for member in members)

    if not await within(40, moved):
        world.wrong.append("workers that were told to leave have not been replaced")


# --- batches that overlap ---------------------------------------------------------------------


# Lest histories grow to more than the checker can read in a minute.
_BETWEEN_ROUNDS = 0.2


async def overlapping(world: World) -> None:
    """Twelve engines write to the same workflows at once, each in an order of its own."""
    dice = Dice(world.seed)
    caller = Caller(world.client, world.directory, "overlap")
    items = [_waiter(dice, n) for n in range(40)]
    for item in items:
        await insisted(lambda item=item: caller.create(item))
    ids = [str(item.id) for item in items]
    world.figures["overlapping_signals"] = await _rounds(world, ids)
    for item in items:
        go = Signal(1, "go", f"{item.uid}:go", keyed=True)
        await insisted(lambda item=item, go=go: caller.signal(str(item.id), go))
    caller.close()


def _waiter(dice: Dice, n: int) -> Item:
    language, uid = ("python", "node")[n % 2], f"overlap{n}"
    take = {"do": "take", "uid": f"{uid}.take", "name": "go", "count": 1}
    id = str(uuid.UUID(int=dice.roll() << 64 | dice.roll(), version=4))
    spec = {"uid": uid, "deeds": [take]}
    return Item(uid, "workflow", f"fault.{language}_flow", language, spec, id=id)


async def _rounds(world: World, ids: list[str]) -> int:
    """Have all engines write to all at the same instant, again and again; answer how often."""
    url, sent = world.server.url(_DATABASE), 0
    async with contextlib.AsyncExitStack() as stack:
        senders: list[Caller] = []
        for n in range(12):
            client = Client(url, schema=SCHEMA, pool_size=3 + n)
            client = await stack.enter_async_context(client)
            senders.append(Caller(client, world.directory, f"overlap{n}"))
            stack.callback(senders[-1].close)
        dice, deadline = random.Random(world.seed), time.monotonic() + world.duration
        while time.monotonic() < deadline:
            orders = [dice.sample(ids, len(ids)) for _ in senders]
            await asyncio.gather(
                *(
                    sender.broadcast(order, f"o{n}.{sent}")
                    for n, (sender, order) in enumerate(zip(senders, orders, strict=True))
                )
            )
            sent += len(ids) * len(senders)
            await asyncio.sleep(_BETWEEN_ROUNDS)
    return sent


def tmpfs(size_mb: int, owner: int, at: Path) -> bool:
    """Mount a small disk, and say whether that may be done here."""
    at.mkdir(exist_ok=True)
    command = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={size_mb}m,uid={owner},mode=700",
        "tmpfs",
        str(at),
    ]
    return os.geteuid() == 0 and subprocess.run(command, check=False).returncode == 0
