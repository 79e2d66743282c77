"""The nemesis: faults in an order and at times that follow from a seed."""

from __future__ import annotations

import asyncio
import math
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from fault_fleet import HEARTBEAT_TIMEOUT, Fleet, Member
from fault_proxy import Proxy
from fault_server import SCHEMA, FaultServer
from program_generator import Dice


@dataclass(frozen=True)
class Faults:
    """What a scenario's nemesis does, how often, and with what pauses, in milliseconds."""

    kinds: Mapping[str, int] = field(default_factory=dict[str, int])
    pause: tuple[int, int] = (200, 1000)
    # For how many heartbeat timeouts a process is stopped, in percent.
    stop: tuple[int, int] = (120, 300)
    # For how long PostgreSQL is away, in milliseconds.
    down: tuple[int, int] = (1000, 3000)
    # For how long the network is, in milliseconds.
    cut: tuple[int, int] = (1000, 6000)
    # How many workers are never stopped at the same time: who else takes over?
    awake: int = 1


class Nemesis:
    """Does one fault after the other; what lasts, such as a stopped process, goes on beside.

    Three crashes in a row fail an execution, by design. Whoever holds one that has had two is
    left alone, or innocents would be parked by chance.
    """

    def __init__(
        self, seed: int, faults: Faults, fleet: Fleet, server: FaultServer, proxy: Proxy | None
    ) -> None:
        self._dice = Dice(seed ^ 0x5EED)
        self._faults = faults
        self._fleet = fleet
        self.server = server
        self._proxy = proxy
        self._beside: set[asyncio.Task[None]] = set()
        self._bag: list[str] = []
        self.counts: Counter[str] = Counter()
        # While something is measured that faults would blur.
        self.rests = False

    async def haunt(self) -> None:
        """Go on until cancelled; then let everything recover."""
        try:
            while self._faults.kinds:
                await asyncio.sleep(self._dice.between(*self._faults.pause) / 1000)
                if self.rests:
                    continue
                kind = self._draw()
                act: Callable[[], Awaitable[bool]] = getattr(self, f"_{kind}")
                if await act():
                    self.counts[kind] += 1
        finally:
            await self._relent()

    def _draw(self) -> str:
        """Answer the next kind, as from a bag with each as often as it weighs: none is late."""
        if not self._bag:
            kinds = self._faults.kinds
            share = math.gcd(*kinds.values())
            self._bag = [kind for kind in kinds for _ in range(kinds[kind] // share)]
        return self._bag.pop(self._dice.between(0, len(self._bag) - 1))

    async def _relent(self) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        for member in self._fleet.members:
            member.send(signal.SIGCONT)
        if self._proxy:
            await self._proxy.do("pass")

    def _goes_on(self, what: Awaitable[None]) -> None:
        async def run() -> None:
            await what

        task = asyncio.create_task(run())
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    # --- processes ---

    async def _victim(self) -> Member | None:
        """Answer a stopped worker that may be harmed. It is stopped so that it claims no more."""
        working = [member for member in self._fleet.members if member.works]
        if not working:
            return None
        member = self._dice.pick(working)
        member.send(signal.SIGSTOP)
        try:
            if await asyncio.to_thread(self._holds_a_suspect, member):
                member.send(signal.SIGCONT)
                return None
        except BaseException:
            member.send(signal.SIGCONT)
            raise
        return member

    def _holds_a_suspect(self, member: Member) -> bool:
        try:
            return (
                self.server.query(
                    f"SELECT count(*) FROM {SCHEMA}.executions e JOIN {SCHEMA}.workers w"
                    " ON w.id = e.worker WHERE e.status = 'running' AND e.crashes >= 2"
                    f" AND w.name = '{member.name}'",
                    "faults",
                ).strip()
                != "0"
            )
        except RuntimeError:
            return True  # nobody knows while the database is away

    async def _kill9(self) -> bool:
        if (member := await self._victim()) is None:
            return False
        self._fleet.note("kill9", member)
        member.leaving = True
        member.send(signal.SIGKILL)
        return True

    async def _stop(self) -> bool:
        """Make a zombie: stop a worker for longer than its leases last, and let it go on."""
        awake = sum(member.works for member in self._fleet.members)
        if awake <= self._faults.awake or (member := await self._victim()) is None:
            return False
        share = self._dice.between(*self._faults.stop)
        self._fleet.note("stop", member, percent=share)
        member.stopped = True
        self._goes_on(self._continue(member, HEARTBEAT_TIMEOUT * share / 100))
        return True

    async def _continue(self, member: Member, after: float) -> None:
        try:
            await asyncio.sleep(after)
        finally:
            member.send(signal.SIGCONT)
            member.stopped = False
            self._fleet.note("cont", member)

    async def _term(self) -> bool:
        working = [member for member in self._fleet.members if member.works]
        if not working:
            return False
        self._fleet.retire(self._dice.pick(working))
        return True

    # --- PostgreSQL ---

    async def _pg_restart(self) -> bool:
        """Restart PostgreSQL as after a crash."""
        self._fleet.note("pg_restart")
        restarting = asyncio.create_task(asyncio.to_thread(self._restart))
        try:
            await asyncio.shield(restarting)
        finally:
            await restarting  # also where the run is over meanwhile
            self._fleet.note("pg_start")
        return True

    def _restart(self) -> None:
        self.server.crash()
        self.server.start()

    async def _pg_down(self) -> bool:
        self._fleet.note("pg_stop")
        await asyncio.to_thread(self.server.crash)
        try:
            await asyncio.sleep(self._dice.between(*self._faults.down) / 1000)
        finally:
            self.server.start()
            self._fleet.note("pg_start")
        return True

    async def _terminate(self) -> bool:
        """Terminate a backend that clients have, whichever."""
        roll = self._dice.roll() % 1000
        query = (
            "WITH them AS"
            " (SELECT pid, row_number() OVER (ORDER BY pid) - 1 n, count(*) OVER () total"
            " FROM pg_stat_activity WHERE datname = 'faults' AND pid <> pg_backend_pid())"
            f" SELECT pg_terminate_backend(pid) FROM them WHERE n = {roll} % total"
        )
        try:
            await asyncio.to_thread(self.server.query, query)
        except RuntimeError:
            return False
        self._fleet.note("terminate_backend")
        return True

    # --- the network ---

    async def _blackhole(self) -> bool:
        return await self._cut("blackhole")

    async def _half_open(self) -> bool:
        return await self._cut("half_open")

    async def _refuse(self) -> bool:
        return await self._cut("refuse")

    async def _delay(self) -> bool:
        return await self._cut("delay", ms=self._dice.between(20, 200))

    async def _cut(self, what: str, **more: int) -> bool:
        """Let nothing through for a while, or all of it late."""
        assert self._proxy is not None
        self._fleet.note(what, None, **more)
        await self._proxy.do(what, **more)
        try:
            await asyncio.sleep(self._dice.between(*self._faults.cut) / 1000)
        finally:
            await self._proxy.do("pass")
            self._fleet.note("pass")
        return True

    async def _reset(self) -> bool:
        assert self._proxy is not None
        self._fleet.note("reset")
        await self._proxy.do("reset")
        return True

    async def _drop_after(self) -> bool:
        assert self._proxy is not None
        count = self._dice.between(0, 20_000)
        self._fleet.note("drop_after", bytes=count)
        await self._proxy.do("drop_after", bytes=count)
        return True

    async def _cut_commit(self) -> bool:
        """Let a transaction commit, and its client never hear of it."""
        assert self._proxy is not None
        match = self._dice.pick(STATEMENTS)
        self._fleet.note("cut_commit", match=match)
        await self._proxy.do("cut_commit", match=f"workflows:{match}", nth=self._dice.between(1, 5))
        return True


# How the names of statements begin each of which is in a transaction whose outcome a client may
# have to find out.
STATEMENTS = (
    "create",
    "create_early",
    "claim",
    "plain",
    "plain_schedule",
    "plain_child",
    "finish",
    "advance",
    "signal",
    "mark_cancel",
    "release",
    "lock",
    "fire",
    "beat",
    "end_lost",
    "requeue_lost",
)
