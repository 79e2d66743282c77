"""Failover: to a replica that lags, which forgets a tail, and to one that does not."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import TYPE_CHECKING

from fault_server import SCHEMA, FaultServer, Standby
from workflows import Client, WorkflowsError

if TYPE_CHECKING:
    from fault_world import World

# For how long nothing is replicated before the end, in seconds.
_LAG = 1.0


async def failover(world: World) -> None:
    """Read from a standby, lose the primary, promote, and have everybody go there."""
    primary = world.server
    standby = await asyncio.to_thread(world.stack.enter_context, primary.standby())
    assert isinstance(standby, Standby)
    asked = asyncio.create_task(_read_only(world, standby))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(world.duration / 2):
            await world.enough.wait()
    await asyncio.to_thread(standby.fall_behind)
    await asyncio.sleep(_LAG)
    await _fail_over(world, standby)
    await asked


async def failover_sync(world: World) -> None:
    """Lose a primary that acknowledges nothing which its standby has not applied."""
    primary = world.server
    standby = await asyncio.to_thread(world.stack.enter_context, primary.standby())
    assert isinstance(standby, Standby)
    await asyncio.to_thread(primary.insist_on_standbys)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(world.duration / 2):
            await world.enough.wait()
    states = await asyncio.to_thread(primary.query, "SELECT sync_state FROM pg_stat_replication")
    if states.split() != ["sync"]:
        world.wrong.append(f"the standby was not a synchronous one: {states!r}")
    await _fail_over(world, standby)


async def _fail_over(world: World, standby: Standby) -> None:
    primary = world.server
    world.fleet.note("pg_stop")
    await asyncio.to_thread(primary.crash)
    began = time.monotonic()
    await asyncio.to_thread(standby.promote)
    world.figures["promoted_s"] = round(time.monotonic() - began, 1)
    world.move(standby)
    assert world.proxy is not None
    await world.proxy.do("reset")
    world.fleet.note("failover")
    world.fleet.note("pg_start")


async def _read_only(world: World, standby: FaultServer) -> None:
    """Read from a standby, and write to it: that waits for half a minute, or the promotion."""
    async with Client(standby.url("faults"), schema=SCHEMA, pool_size=3) as client:
        await client.stats()
        began = time.monotonic()
        try:
            await client.cancel(uuid.UUID(int=0, version=4))
        except WorkflowsError as error:
            world.figures["a_write_to_the_standby"] = error.code
            if error.code not in ("database_unavailable", "execution_not_found"):
                world.wrong.append(f"a write to a standby was refused with {error.code}")
        world.figures["it_waited_s"] = round(time.monotonic() - began, 1)
