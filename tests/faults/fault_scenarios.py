"""The scenarios: each row of the matrix that is played here, by name."""

from __future__ import annotations

import fault_extras as extras
from fault_failover import failover
from fault_forger import forge
from fault_nemesis import Faults
from fault_rows import ROWS
from fault_starts import first_starts
from fault_versions import versions
from fault_world import NO_FAULTS, Scenario

_PYTHON = ("python",)

# What an outage of the database may do to those that live through it.
_UNHARMED = {"crashes_counted": 0, "needless_recoveries": 0, "rerun_after_outages": 0}

_PROCESSES = (
    Scenario(
        "smoke",
        "1 2 5 16 18 19 33",
        "a bit of everything, in a minute",
        Faults(
            {"kill9": 8, "stop": 4, "term": 2, "pg_restart": 1, "terminate": 5, "cut_commit": 5},
            pause=(300, 1200),
        ),
        proxied=True,
        proxied_clients=True,
        also=extras.overlapping,
        allows={"wake_slack_ms": 4000, "recovery_slack_ms": 4000},  # beside other tests
    ),
    Scenario(
        "quiet",
        "",
        "no faults at all: what the others are compared with",
        players=4,
        allows=NO_FAULTS,
    ),
    Scenario("kill9", "1", "kill -9 of workers", Faults({"kill9": 1})),
    Scenario(
        "zombie",
        "2",
        "SIGSTOP for longer than a lease, then SIGCONT",
        Faults({"stop": 1}, pause=(400, 1200), awake=2),
    ),
    Scenario(
        "forged",
        "2",
        "writes under leases that are none, again, too late, and at the worst moment",
        fleet={"python": 1, "node": 1},
        players=2,
        also=forge,
    ),
    Scenario(
        "term",
        "5",
        "SIGTERM under load; nothing counts as a crash",
        Faults({"term": 1}, pause=(700, 2000)),
        limits={"crashes_counted": 0, "killed_after_term": 0},
    ),
    Scenario(
        "blocked",
        "7",
        "bodies hold up the event loop for several leases; nothing is taken from them",
        mix={"job": 60, "flow": 30, "blocker": 3},
        allows={"wake_slack_ms": 20_000},  # who is blocked looks as if it had room
        limits={"crashes_counted": 0, "claims_while_stalled": 0},
        floors={"stalls_told": 1},
    ),
    Scenario(
        "poison",
        "11",
        "bodies that kill their process, among innocents",
        mix={"job": 70, "flow": 28, "poison": 2},
        items=200,
        limits={"poison_claims_max": 3},
    ),
    Scenario(
        "huge_errors",
        "12",
        "errors of ten megabytes",
        mix={"job": 90, "huge": 10},
        limits={"largest_error": 100_000},
    ),
    Scenario(
        "pool",
        "39",
        "fifty bodies use the engine at once, which has two connections",
        Faults({"kill9": 1}, pause=(1500, 3000)),
        mix={"user": 90, "flow": 10},
        languages=_PYTHON,
        fleet={"python": 3},
        players=100,
        concurrency=50,
        environment={"FAULTS_POOL": "2"},
    ),
)

_DATABASE = (
    Scenario(
        "pg_restart",
        "16",
        "PostgreSQL restarts as after a crash, every few seconds",
        Faults({"pg_restart": 1}, pause=(4000, 12_000)),
        limits=_UNHARMED,
    ),
    Scenario(
        "pg_down",
        "17",
        "PostgreSQL is away for ten leases; nobody is declared dead afterwards",
        Faults({"pg_down": 1}, pause=(5000, 8000), down=(20_000, 21_000)),
        limits=_UNHARMED,
    ),
    Scenario(
        "terminate",
        "18",
        "backends are terminated, five in a second",
        Faults({"terminate": 1}, pause=(100, 300)),
        limits={"errors_surfaced": 0},
    ),
    Scenario(
        "notify_full",
        "24",
        "the queue of NOTIFY is full; nothing fails because of it",
        settings={"max_notify_queue_pages": "64"},
        also=extras.queue_of_notifications,
        limits={"errors_surfaced": 0, "starts_failed": 0},
    ),
    Scenario(
        "disk_full",
        "25",
        "the disk of the data is full again and again",
        disk_mb=300,
        also=extras.disk_full,
        limits={"crashes_counted": 0},
    ),
    Scenario(
        "failover",
        "28",
        "a replica that is a second behind is promoted; no two hold the same lease",
        proxied=True,
        proxied_clients=True,
        mix={"jobs": 12, "job": 30, "twins": 10, "call": 15, "delayed": 5, "deaf": 30},
        also=failover,
        allows={"lost_acks": True},
    ),
    Scenario(
        "defaults",
        "30 31 32",
        "a database with timeouts, isolation and durability that do not suit the engine",
        Faults({"kill9": 3, "pg_restart": 1}, pause=(1000, 2000)),
        defaults={
            "statement_timeout": "50ms",
            "lock_timeout": "10ms",
            "idle_in_transaction_session_timeout": "1s",
            "default_transaction_isolation": "serializable",
            "synchronous_commit": "off",
        },
        limits={"unhandled_40001": 0},
        tells=("not_serialized", "statements_cancelled", "errors_surfaced"),
    ),
    Scenario(
        "overlap",
        "33",
        "batches from twelve engines on the same executions, each in an order of its own",
        also=extras.overlapping,
    ),
    Scenario(
        "pgbouncer",
        "40",
        "workers and clients go through PgBouncer in transaction mode, and workers are killed",
        Faults({"kill9": 2, "pg_restart": 1}, pause=(1000, 4000)),
        pooled=True,
        also=extras.cost_of_pooler,
        environment={"WORKFLOWS_LISTEN_URL": "off"},
    ),
)

_NETWORK = (
    Scenario(
        "cut_commit",
        "19",
        "the reply to a COMMIT is lost, of workers and of clients",
        Faults({"cut_commit": 1}, pause=(100, 400)),
        proxied=True,
        proxied_clients=True,
    ),
    Scenario(
        "blackhole",
        "20",
        "half of the workers lose the network, in one way or another",
        Faults(
            {
                "blackhole": 3,
                "half_open": 2,
                "refuse": 1,
                "delay": 1,
                "reset": 1,
                "drop_after": 2,
            },
            pause=(500, 2000),
            cut=(2000, 8000),
        ),
        proxied=True,
        halved=True,
    ),
    Scenario(
        "no_notify",
        "23",
        "no notification gets through: polling only",
        proxied=True,
        proxied_clients=True,
        players=6,
        also=extras.lose_notifications,
    ),
)

_MEANING = (
    Scenario(
        "first_starts",
        "47 48",
        "fifty processes migrate an empty database at once; in every other round those that"
        " migrate die in the middle",
        players=2,
        also=first_starts,
        floors={"killed_while_migrating": 10},
    ),
    Scenario(
        "versions",
        "49",
        "a rolling deploy of the next version, its migration under load; libraries older and newer"
        " than the schema refuse it before they claim",
        players=8,
        also=versions,
        limits={"crashes_counted": 0},
    ),
    Scenario(
        "races",
        "55",
        "cancels and terminations race with ends, signals and timers",
        Faults({"kill9": 1}, pause=(1500, 3000)),
        mix={"cancelled": 40, "halted": 30, "terminated": 15, "flow": 15},
        players=40,
    ),
    Scenario(
        "signals",
        "56",
        "10,000 signals from twenty senders while receivers are killed",
        Faults({"kill9": 1}, pause=(600, 1200)),
        mix={"flood": 1},
        players=9,
        items=25,
        floors={"crashes_counted": 10},
    ),
    Scenario(
        "timers",
        "58",
        "100,000 timers within a minute while workers are killed",
        Faults({"kill9": 1}, pause=(1000, 2000)),
        mix={"sleepers": 1},
        players=1000,
        items=1000,
        allows={"wake_slack_ms": 8000},  # it is as much as two cores do: what is due waits its turn
    ),
)

SCENARIOS: dict[str, Scenario] = {
    each.name: each for each in (*_PROCESSES, *_DATABASE, *_NETWORK, *_MEANING, *ROWS)
}

# What a long run is made of, and for how much of its time.
LONG: dict[str, float] = {
    name: {
        "kill9": 8,
        "cut_commit": 5,
        "terminate": 4,
        "zombie": 3,
        "pg_restart": 2,
        "blackhole": 2,
    }.get(name, 1)
    for name in SCENARIOS
    if name != "smoke"
}
