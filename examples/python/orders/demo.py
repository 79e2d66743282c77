"""300 orders, workers in two languages, and two kill -9 in the middle: run it with `make demo`.

Read flows.py first, and examples/node/orders/flows.ts, which is the same in
TypeScript. This file queues the orders, starts the workers, answers for the
person who approves large sums, has a worker of each language killed while it
charges cards, and compares what the database recorded with what was really done.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import cast

import disaster
import shop
import verdict
import workflows
from disaster import Recovery
from flows import Outcome, fulfil
from report import Report
from screen import Screen
from shop import COMMAND_LINES, CommandFailed, Place, Row, WorkerProcess
from workflows import Client, Handle, WorkflowsError

PAUSE_BETWEEN_ORDERS = 0.04
PAUSE_BEFORE_APPROVAL = 0.8
KILL_AFTER = (0.25, 0.5)  # of the orders
PATIENCE = 120.0


class WorkerEnded(Exception):
    """A worker that nobody killed is gone."""


@dataclass
class Run:
    """One run of the demo: who takes part, and what is known so far."""

    client: Client
    screen: Screen
    rows: Sequence[Row]
    workers: Sequence[WorkerProcess]
    handles: list[Handle[Outcome]] = field(default_factory=list[Handle[Outcome]])
    done: int = 0
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def play(self) -> Report:
        """Lets it all happen until the last order is done, and answers what came of it."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            guard = group.create_task(self._guard())
            async with asyncio.TaskGroup() as story:
                recovery = story.create_task(self._disasters())
                await self._shop(story)
            guard.cancel()
        seconds = time.monotonic() - began
        self.screen.say("the last order is done")
        fates = [
            await verdict.fate(self.client, row, handle.id)
            for row, handle in zip(self.rows, self.handles, strict=True)
        ]
        return Report(self.screen, fates, seconds, recovery.result())

    async def _shop(self, story: asyncio.TaskGroup) -> None:
        """Takes orders as they come in."""
        for row in self.rows:
            durable = fulfil.options(
                priority=shop.PRIORITIES[row.urgency], idempotency_key=row.order.number
            )
            handle = await durable.queue(row.order)
            self.handles.append(handle)
            story.create_task(self._see_through(handle))
            if row.order.is_large:
                story.create_task(self._answer(row, handle))
            await asyncio.sleep(PAUSE_BETWEEN_ORDERS)
        self.screen.say(f"all {len(self.rows)} orders have come in")

    async def _see_through(self, handle: Handle[Outcome]) -> None:
        await self.client.wait(handle.id)
        async with self.progress:
            self.done += 1
            self.progress.notify_all()
        self.screen.show(self.done)

    async def _answer(self, row: Row, handle: Handle[Outcome]) -> None:
        """Somebody is asked about a large sum, and takes a moment."""
        await asyncio.sleep(PAUSE_BEFORE_APPROVAL)
        await handle.signal("approval", asdict(shop.decide(row.order)), key="approval")

    async def _disasters(self) -> list[Recovery]:
        """Kills one of the two workers of each language."""
        return [
            await self._disaster(victim, part)
            for victim, part in zip(self.workers[1::2], KILL_AFTER, strict=True)
        ]

    async def _disaster(self, victim: WorkerProcess, part: float) -> Recovery:
        async with self.progress:
            await self.progress.wait_for(lambda: self.done >= part * len(self.rows))
        return await disaster.strike(
            self.client, victim, lambda text: self.screen.say(text, "bold yellow")
        )

    async def _guard(self) -> None:
        """Notices a worker that ends by itself."""
        while True:
            for worker in self.workers:
                if worker.has_ended and not worker.was_killed:
                    raise WorkerEnded(f"{worker.name} has ended by itself: see {worker.log_path}")
            await asyncio.sleep(0.2)


async def perform(screen: Screen, place: Place, rows: Sequence[Row]) -> bool:
    """Sets the stage, plays, cleans up, and answers whether every promise was kept."""
    place.prepare()
    workers: list[WorkerProcess] = []
    client = workflows.configure(place.url, schema=place.schema)
    try:
        await client.migrate()
        where = "a PostgreSQL of its own" if place.is_embedded else "your PostgreSQL"
        screen.say(f"{where} is ready, schema {place.schema}")
        for language in COMMAND_LINES:
            started = [WorkerProcess(place, language, number) for number in (1, 2)]
            screen.say(" and ".join(f"{worker.name} (pid {worker.pid})" for worker in started))
            workers += started
        with screen:
            report = await Run(client, screen, rows, workers).play()
        return report.show(place)
    finally:
        shop.stop_all(workers)
        await asyncio.to_thread(client.close)


def main() -> int:
    """Runs the demo, and answers the status to exit with."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows, place = shop.orders(), Place.choose()
    os.environ["ORDERS_BOOKS"] = str(place.books)
    screen = Screen(len(rows))
    screen.title(f"{len(rows)} orders, workers in Python and Node, one PostgreSQL, and two kill -9")
    status = 1
    try:
        status = 0 if asyncio.run(perform(screen, place, rows)) else 1
    except* KeyboardInterrupt:
        screen.say("stopped, and the workers with it")
        status = 130
    except* (WorkerEnded, TimeoutError, WorkflowsError, CommandFailed) as group:
        for error in leaves(cast("BaseException", group)):
            screen.say(str(error) or f"not done within {PATIENCE:.0f} s", "bold red")
    return status


def leaves(error: BaseException) -> list[BaseException]:
    """Answers the errors of a group, and of the groups in it."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for each in group.exceptions for leaf in leaves(each)]


if __name__ == "__main__":
    sys.exit(main())
