"""The scenarios: each row of the matrix that is played here, by name."""

from __future__ import annotations

from fault_nemesis import Faults
from fault_world import Scenario

_EVERYTHING = {"kill9": 40, "stop": 20, "term": 10, "pg_restart": 4, "terminate": 26}

SCENARIOS: dict[str, Scenario] = {
    each.name: each
    for each in (
        Scenario(
            "smoke",
            "1 2 5 16",
            "a bit of everything, in a minute",
            Faults(_EVERYTHING, pause=(300, 1200)),
        ),
        Scenario("quiet", "", "no faults at all: what the others are compared with", players=4),
        Scenario("kill9", "1", "kill -9 of workers", Faults({"kill9": 1})),
        Scenario(
            "zombie",
            "2",
            "SIGSTOP for longer than a lease, then SIGCONT",
            Faults({"stop": 1}, pause=(500, 1500)),
        ),
        Scenario("term", "5", "SIGTERM under load", Faults({"term": 1}, pause=(1000, 2000))),
        Scenario(
            "pg_restart",
            "16",
            "PostgreSQL restarts as after a crash, every few seconds",
            Faults({"pg_restart": 1}, pause=(5000, 12_000)),
        ),
        Scenario(
            "pg_down",
            "17",
            "PostgreSQL is away for ten leases",
            Faults({"pg_down": 1}, pause=(5000, 8000), down=(20_000, 21_000)),
        ),
        Scenario(
            "terminate",
            "18",
            "backends are terminated, five in a second",
            Faults({"terminate": 1}, pause=(100, 300)),
        ),
    )
}

# What a long run is made of, and for how much of its time.
LONG: dict[str, float] = {name: 1.0 for name in SCENARIOS if name not in ("smoke",)}
