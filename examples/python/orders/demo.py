"""300 orders, two workers, and a kill -9 in the middle: run it with `make demo`.

Read flows.py first. This file queues the orders, starts the workers, answers
for the person who approves large sums, has a worker killed while it charges
cards, and compares what the database recorded with what was really done.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from subprocess import CalledProcessError

import disaster
import shop
import verdict
import workflows
from disaster import Recovery
from flows import Outcome, fulfil
from screen import Screen
from shop import Place, Row, WorkerProcess
from verdict import Fate
from workflows import Client, Handle, WorkflowsError

PAUSE_BETWEEN_ORDERS = 0.04
PAUSE_BEFORE_APPROVAL = 0.8
KILL_AFTER = 0.4  # of the orders
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
    is_time: asyncio.Event = field(default_factory=asyncio.Event)
    done: int = 0
    seconds: float = 0.0
    recovery: Recovery | None = None

    async def play(self) -> None:
        """Lets it all happen, until the last order is done."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            guard = group.create_task(self._guard())
            async with asyncio.TaskGroup() as story:
                story.create_task(self._disaster())
                await self._shop(story)
            guard.cancel()
        self.seconds = time.monotonic() - began

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
        self.done += 1
        if self.done >= KILL_AFTER * len(self.rows):
            self.is_time.set()
        self.screen.show(self.done)

    async def _answer(self, row: Row, handle: Handle[Outcome]) -> None:
        """Somebody is asked about a large sum, and takes a moment."""
        await asyncio.sleep(PAUSE_BEFORE_APPROVAL)
        await handle.signal("approval", asdict(shop.decide(row.order)), key="approval")

    async def _disaster(self) -> None:
        await self.is_time.wait()
        self.recovery = await disaster.strike(
            self.client, self.workers[-1], lambda text: self.screen.say(text, "bold yellow")
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
        workers += [WorkerProcess(place, f"worker {number}") for number in (1, 2)]
        screen.say(" and ".join(f"{worker.name} (pid {worker.pid})" for worker in workers))
        run = Run(client, screen, rows, workers)
        with screen:
            await run.play()
        screen.say("the last order is done")
        return await report(run, place)
    finally:
        shop.stop_all(workers)
        await asyncio.to_thread(client.close)


async def report(run: Run, place: Place) -> bool:
    """Prints what came of it, and answers whether every promise was kept."""
    fates = [
        await verdict.fate(run.client, row, handle.id)
        for row, handle in zip(run.rows, run.handles, strict=True)
    ]
    checks = verdict.checks(fates)
    show_counts(run, fates)
    show_repeats(run, fates)
    for check in checks:
        run.screen.check(check.holds, check.promise, ", ".join(check.offenders[:5]))
    show_next(run, fates, place)
    return run.recovery is not None and all(check.holds for check in checks)


def show_counts(run: Run, fates: Sequence[Fate]) -> None:
    """Prints how the orders ended, what was done for them, and how fast."""
    states = Counter(fate.state for fate in fates)
    run.screen.table(["orders", "how many"], [[*each] for each in states.most_common()])
    effects = verdict.effects(fates)
    run.screen.table(
        ["what", "recorded", "asked for", "repeats, ignored", "done"],
        [[each.name, each.records, each.asked, each.repeats, each.done] for each in effects],
    )
    speed, events = len(fates) / run.seconds, sum(fate.events for fate in fates)
    run.screen.fact("speed", f"{speed:.0f} orders a second, {events} events, {run.seconds:.1f} s")
    run.screen.fact("retries", f"{verdict.turned_away()} charges found the bank busy at first")
    if run.recovery is not None:
        run.screen.fact(
            "recovery",
            f"{run.recovery.seconds:.1f} s from kill -9 until all had another worker: "
            f"{run.recovery.activities} activities ran again, "
            f"{run.recovery.workflows} workflows went on from their history",
        )


def show_repeats(run: Run, fates: Sequence[Fate]) -> None:
    """Says plainly what ran twice, and why nobody has paid twice."""
    again = verdict.charged_again()
    numbers = ", ".join(entry["key"] for entry in again)
    run.screen.text(
        f"""
  {len(again)} payments were asked for again ({numbers}): the worker died when the bank had
  taken the money and nobody had written that down. The second request had the same
  idempotency key, so the bank took nothing. Bodies run at least once, results are
  recorded exactly once; a key makes one deed of it.
"""
    )


def show_next(run: Run, fates: Sequence[Fate], place: Place) -> None:
    """Prints what to type next."""
    again = {entry["key"]: entry["execution"] for entry in verdict.charged_again()}
    run.screen.text("\n  The database is still there. Have a look:\n")
    run.screen.command(place.spelt("list", "--kind", "workflow", "--limit", "10"))
    for fate in fates:
        if fate.row.order.number in again:
            run.screen.command(place.spelt("history", fate.id))
            run.screen.command(place.spelt("status", again[fate.row.order.number]))
            break
    run.screen.text()


def main() -> int:
    """Runs the demo, and answers the status to exit with."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows, place = shop.orders(), Place.choose()
    os.environ["ORDERS_BOOKS"] = str(place.books)
    screen = Screen(len(rows))
    screen.title(f"{len(rows)} orders, two workers, one PostgreSQL, and a kill -9 in the middle")
    status = 1
    try:
        status = 0 if asyncio.run(perform(screen, place, rows)) else 1
    except* KeyboardInterrupt:
        screen.say("stopped, and the workers with it")
        status = 130
    except* (WorkerEnded, TimeoutError, WorkflowsError, CalledProcessError) as group:
        for error in leaves(group):
            screen.say(str(error) or f"not done within {PATIENCE:.0f} s", "bold red")
    return status


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Answers the errors of a group of groups."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    sys.exit(main())
