"""Tables that grow and are not tidied: what do claims cost then?"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fault_server import BALLAST, SCHEMA

if TYPE_CHECKING:
    from fault_world import World

_DATABASE = "faults"
_FINISHED = 1_000_000


@dataclass(frozen=True)
class _Claims:
    """What claims cost in some stretch of time."""

    calls: int
    mean_ms: float
    max_ms: float
    blocks: float
    finished_a_second: float


async def held_xmin(world: World) -> None:
    """Measure claims, then hold a snapshot for as long again, and measure them at its end."""
    before = await _measured(world, world.duration / 4)
    holder = await _hold(world)
    try:
        await _pause(world, world.duration / 2)
        after = await _measured(world, world.duration / 4)
        world.figures["dead_rows"] = int(await _ask(world, _DEAD))
    finally:
        holder.kill()
        await holder.wait()
    _compare(world, before, after)


async def many_finished(world: World) -> None:
    """Measure claims, then put a million finished rows before them, and measure again."""
    before = await _measured(world, world.duration / 3)
    await _ask(world, _ROWS)
    world.figures["finished_rows"] = _FINISHED
    await _pause(world, 2)
    after = await _measured(world, world.duration / 3)
    _compare(world, before, after)


async def _pause(world: World, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await world.enough.wait()


async def _measured(world: World, seconds: float) -> _Claims:
    await asyncio.to_thread(world.server.query, "SELECT pg_stat_statements_reset()")
    ended = int(await _ask(world, _ENDED))
    await _pause(world, seconds)
    rate = (int(await _ask(world, _ENDED)) - ended) / seconds
    found = (await asyncio.to_thread(world.server.query, _COST)).strip().split("|")
    calls, mean, most, blocks = map(float, found)
    return _Claims(int(calls), mean, most, blocks, rate)


def _compare(world: World, before: _Claims, after: _Claims) -> None:
    for name, each in (("before", before), ("then", after)):
        world.figures |= {
            f"claims_{name}": each.calls,
            f"claim_mean_ms_{name}": round(each.mean_ms, 2),
            f"claim_max_ms_{name}": round(each.max_ms, 1),
            f"claim_blocks_{name}": round(each.blocks, 1),
            f"finished_a_second_{name}": round(each.finished_a_second),
        }
    world.figures["claims_dearer"] = round(after.mean_ms / before.mean_ms, 2)
    lost = before.finished_a_second / max(after.finished_a_second, 1)
    world.figures["throughput_divided_by"] = round(lost, 2)


async def _hold(world: World) -> asyncio.subprocess.Process:
    """Begin a transaction that sees the database as it is now, and leave it open."""
    held = await asyncio.create_subprocess_exec(
        str(world.server.binaries / "psql"),
        *("--quiet", "--no-psqlrc", world.server.url(_DATABASE)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert held.stdin is not None
    assert held.stdout is not None
    held.stdin.write(b"SET idle_in_transaction_session_timeout = 0;\n")
    held.stdin.write(b"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;\n")
    await held.stdin.drain()
    await held.stdout.readline()
    return held


async def _ask(world: World, query: str) -> str:
    return (await asyncio.to_thread(world.server.query, query, _DATABASE)).strip()


_ENDED = f"SELECT count(*) FROM {SCHEMA}.executions WHERE finished_at IS NOT NULL"

_DEAD = f"""
SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'executions' AND schemaname = '{SCHEMA}'
"""

_COST = """
SELECT sum(calls), sum(total_exec_time) / sum(calls), max(max_exec_time),
    sum(shared_blks_hit + shared_blks_read)::float8 / sum(calls)
FROM pg_stat_statements WHERE query LIKE '%workflows:claim */%'
"""

# Without the audit's triggers: nobody asked for these.
_ROWS = f"""
SET session_replication_role = replica;
INSERT INTO {SCHEMA}.executions (id, root_id, kind, name, queue, status, priority, run_at,
    created_at, started_at, finished_at, attempts, epoch, args, result)
SELECT id, id, 'job', '{BALLAST}', 'default', 'completed', 5, now(), now(), now(), now(), 1, 1,
    '[{{"uid": "ballast"}}]', '"ballast"'
FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, {_FINISHED})) made
"""
