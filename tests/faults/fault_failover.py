"""Failover to a replica that lags: the tail of what was acknowledged is gone, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from fault_server import SCHEMA, FaultServer, Standby
from workflows import Client, WorkflowsError

if TYPE_CHECKING:
    from fault_world import World

# For how long nothing is replicated before the end, in seconds.
_LAG = 1.0


async def failover(world: World) -> None:
    """Read from a standby, lose the primary, promote, and have everybody go there."""
    primary, stack = world.server, world.stack
    standby = await asyncio.to_thread(stack.enter_context, primary.standby())
    assert isinstance(standby, Standby)
    await _read_only(world, standby)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(world.enough.wait(), world.duration / 2)
    await asyncio.to_thread(standby.fall_behind)
    await asyncio.sleep(_LAG)
    world.fleet.note("pg_stop")
    await asyncio.to_thread(primary.crash)
    await asyncio.to_thread(standby.promote)
    world.move(standby)
    assert world.proxy is not None
    await world.proxy.do("reset")
    world.fleet.note("failover")
    world.fleet.note("pg_start")


async def _read_only(world: World, standby: FaultServer) -> None:
    """See that a standby can be read from, and says why it cannot be written to."""
    async with Client(standby.url("faults"), schema=SCHEMA, pool_size=3) as client:
        await client.stats()
        try:
            await client.create([{"kind": "job", "name": "fault.job"}])
        except WorkflowsError as error:
            world.figures["a_start_on_a_standby"] = error.code
        else:
            world.wrong.append("a read-only standby took a start")
