"""More scenarios: crowds, deploys, clocks, tables that are not vacuumed, and other outages."""

from __future__ import annotations

from fault_crowds import crowd, deploy
from fault_disks import wal_full
from fault_failover import failover_sync
from fault_nemesis import Faults
from fault_tables import held_xmin, many_finished
from fault_world import NO_FAULTS, Scenario

_COUNTED = {"pg_stat_statements.track": "top"}
_HOUR, _YEAR = 3600, 365 * 24 * 3600

ROWS = (
    Scenario(
        "lone",
        "",
        "few things at a time, and no faults: how soon is it noticed what can run",
        mix={"job": 30, "delayed": 10, "call": 20, "flow": 40},
        players=3,
        allows=NO_FAULTS,
        limits={"wakeup_p99_ms": 500},  # the aim is 50, on a machine that has nothing else to do
    ),
    Scenario(
        "deploy",
        "13",
        "workers that lack functions are replaced one by one by such as have them",
        mix={"job": 30, "doomed": 5, "call": 20, "flow": 45},
        environment={"FAULTS_LACKS": "fault.job fault.python fault.node_flow"},
        also=deploy,
        limits={"crashes_counted": 0, "failures_beyond_the_bodies": 0, "put_back_attempts_max": 2},
    ),
    Scenario(
        "crowd",
        "15",
        "a thousand bodies at once in one process of each language, and as many again that wait",
        mix={"throng": 4, "steps": 1},
        fleet={"python": 1, "node": 1},
        players=8,
        items=40,
        concurrency=1000,
        also=crowd,
        limits={"bodies_at_once_max": 1000, "rss_mb_max": 700, "crashes_counted": 0},
    ),
    Scenario(
        "wal_full",
        "26",
        "the disk of the write-ahead log is full, and PostgreSQL panics",
        wal_mb=200,
        also=wal_full,
        limits={"crashes_counted": 0},
    ),
    Scenario(
        "failover_sync",
        "29",
        "the primary is lost, and a replica that has applied every commit is promoted",
        proxied=True,
        proxied_clients=True,
        also=failover_sync,
    ),
    Scenario(
        "held_xmin",
        "35",
        "a transaction stays open: no dead row can go, and each claim reads past all of them",
        mix={"jobs": 40, "job": 20, "flow": 40},
        defaults=_COUNTED,
        also=held_xmin,
        limits={"throughput_divided_by": 10},  # the aim is 2, and not always reached
    ),
    Scenario(
        "many_finished",
        "36",
        "a million finished rows that nothing has vacuumed or analysed",
        mix={"jobs": 40, "job": 20, "flow": 40},
        settings={"autovacuum": "off"},
        defaults=_COUNTED,
        also=many_finished,
        limits={"throughput_divided_by": 2},
    ),
    Scenario(
        "clock_behind",
        "43",
        "the database's clock is an hour ahead of the workers', and those differ by hours, too",
        Faults({"kill9": 2, "stop": 1}, pause=(800, 2000)),
        clock_s=_HOUR,
        clocks=(-_HOUR, 0, _HOUR),
    ),
    Scenario(
        "clock_ahead",
        "43",
        "the database's clock is ten years behind the workers', and those differ by years, too",
        Faults({"kill9": 2, "stop": 1}, pause=(800, 2000)),
        clock_s=-10 * _YEAR,
        clocks=(-10 * _YEAR, 0, 10 * _YEAR),
    ),
)
