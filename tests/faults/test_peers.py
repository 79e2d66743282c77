"""The measure that others are held to: the same faults for all, and whose results they take."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_server import ROOT, FaultServer
from peer_table import Peer, audit
from peers import Contest, schedule
from program_generator import Dice


def test_a_seed_has_the_same_faults_for_everybody_and_lets_go_of_whom_it_stops() -> None:
    faults = schedule(Dice(7), 60)
    assert faults == schedule(Dice(7), 60)
    assert faults != schedule(Dice(8), 60)
    counts = Counter(fault.kind for fault in faults)
    assert counts["kill9"] > 10
    assert counts["stop"] == counts["cont"] > 5
    stopped: set[int] = set()
    for fault in faults:
        assert fault.kind != "kill9" or fault.slot not in stopped
        {"stop": stopped.add, "cont": stopped.discard}.get(fault.kind, id)(fault.slot)
        assert len(stopped) < 4


_PEER = Peer("p", "P", None, "jobs", "r.uid", "r.by <> ''", "r.by", "r.ended", "", "")


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer(ROOT / "build" / "faults") as made:
        made.query("CREATE DATABASE peer TEMPLATE template0")
        made.query("CREATE ROLE a SUPERUSER LOGIN")
        made.query("CREATE ROLE b SUPERUSER LOGIN")
        made.query("CREATE TABLE jobs (uid text, by text, ended boolean DEFAULT false)", "peer")
        made.query(audit(_PEER), "peer")
        yield made


@pytest.mark.xdist_group("peers")
@pytest.mark.parametrize(
    ("writes", "stale"),
    [
        (["a: SET by = 'a'", "a: SET ended = true"], 0),
        (["a: SET by = 'a'", "b: SET by = 'b'", "b: SET ended = true"], 0),
        (["a: SET by = 'a'", "b: SET by = 'b'", "a: SET ended = true"], 1),
        (["a: SET by = 'a'", "b: SET by = 'b'", "a: DELETE"], 1),
        # What is written to it besides is no claim, and nothing ends twice.
        (["a: SET by = 'a'", "b: SET by = by", "a: SET ended = true", "b: SET ended = true"], 0),
    ],
)
def test_a_result_is_stale_if_another_has_claimed_the_job_since(
    server: FaultServer, writes: list[str], stale: int
) -> None:
    run = Path(tempfile.gettempdir())
    contest = Contest(_PEER, run, server, run)
    before = contest.stale()
    server.query("TRUNCATE jobs; INSERT INTO jobs VALUES (gen_random_uuid(), '')", "peer")
    for who, what in (write.split(": ") for write in writes):
        change = "DELETE FROM jobs" if what == "DELETE" else f"UPDATE jobs {what}"
        server.query(f"SET SESSION AUTHORIZATION {who}; {change}", "peer")
    assert contest.stale() - before == stale
