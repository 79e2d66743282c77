"""A worker whose host is gone without a word: no RST comes, and nobody closes a connection."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_functions import crash_held_job, crash_job
from crash_stage import HEARTBEAT_TIMEOUT, MARGIN, POLL, Stage
from fault_cable import Cable
from fault_server import ROOT, FaultServer

# Of core/store/route.go: five seconds of silence, then three questions two seconds apart.
NOTICED = 5 + 3 * 2
# An attempt to connect that began just before, and the pause after it.
RECONNECTED = 10.0

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="network namespaces are made by root, with iproute2",
)


class Reached(FaultServer):
    """A server that the other end of a cable reaches."""

    def __init__(self, parent: Path, cable: Cable) -> None:
        super().__init__(parent, listen_addresses=cable.here)
        self._cable = cable

    def make(self, data: Path) -> None:
        super().make(data)
        with (data / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {self._cable.here}/30 trust\n")

    def url(self, name: str) -> str:
        return f"postgresql://bench@{self._cable.here}/{name}"

    def sessions(self) -> int:
        """Count those of the other end."""
        asked = "SELECT count(*) FROM pg_stat_activity WHERE client_addr = "
        return int(self.query(f"{asked}'{self._cable.there}'"))


@pytest.fixture
def cable() -> Iterator[Cable]:
    with Cable() as cable:
        yield cable


@pytest.fixture
def server(cable: Cable) -> Iterator[Reached]:
    with Reached(ROOT / "build" / "faults", cable) as server:
        yield server


@pytest.fixture
def database_url(server: Reached) -> str:
    return server.url("postgres")


async def test_who_loses_the_network_loses_its_work_and_its_sessions_and_comes_back(
    cable: Cable, server: Reached, stage: Stage
) -> None:
    """Row 20: TCP keepalive of both sides, which a proxy would answer."""
    command = [*cable.inside, sys.executable, "-m", "workflows", "worker"]
    far = stage.launch("far", [*command, "-m", "crash_functions", "-q", "default", "-q", "far"])
    await stage.serves(far)
    held = await stage.queue(crash_held_job)
    await stage.saw("began", "held", by="far")
    await stage.start("near")
    assert server.sessions() > 0

    cable.pull()
    pulled = time.monotonic()
    taken = (await stage.saw("began", "held", by="near"))["at"] - pulled
    assert taken < HEARTBEAT_TIMEOUT + POLL + MARGIN
    await stage.until(lambda: server.sessions() == 0, "the server to let go", NOTICED + 5)
    freed = time.monotonic() - pulled
    stage.open("near")
    assert await held.result(20) == "near"

    cable.plug_in()
    plugged_in = time.monotonic()
    again = await stage.queue(crash_job.options(queue="far"), 7)
    assert await again.result(RECONNECTED + 5) == 7
    back = time.monotonic() - plugged_in
    assert stage.count("ended", "held") == 1

    took = {"taken over": taken, "sessions freed": freed, "back at work": back}
    for what, seconds in took.items():
        print(f"{seconds * 1000:.0f} ms until {what}")
