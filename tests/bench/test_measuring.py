"""Contestants are programs: what they print, what is added to it, and what becomes of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import measuring
import pytest
from contestants import Contestant
from measuring import Failed, add_ratios, bare_memory, measure, medians, ratio
from server import Database, Server

HEAD = "import json, sys, os\ndef say(**line): print(json.dumps(line), flush=True)\n"
WAIT = "sys.stdin.readline()\n"


class FakeDatabase:
    """Answers what a server would; each look finds a little more."""

    url = "postgresql:///fake"

    def __init__(self) -> None:
        self.looks = 0

    def wal(self) -> int:
        self.looks += 1
        return 1000 * self.looks

    def statements(self) -> int:
        return 30 * self.looks


class FakeServer:
    pid = 1
    binaries = Path("/nowhere")

    def __init__(self) -> None:
        self.databases: list[FakeDatabase] = []
        self.counted: list[bool] = []

    @contextlib.contextmanager
    def database(self, *, counted: bool = False) -> Generator[FakeDatabase]:
        self.databases.append(FakeDatabase())
        self.counted.append(counted)
        yield self.databases[-1]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    monkeypatch.setattr(measuring, "BUILD", tmp_path)
    return FakeServer()


def contestant(program: str) -> Contestant:
    idle = [sys.executable, "-c", "import time; time.sleep(600)"]
    return Contestant("it", "It", [sys.executable, "-c", HEAD + program], bare=idle)


def run(program: str, server: FakeServer, *workloads: str, **more: Any) -> dict[str, Any]:
    return measure(contestant(program), cast("Server", server), 0.5, workloads, **more)


def test_what_it_costs_is_added_to_what_a_contestant_prints(server: FakeServer) -> None:
    samples = run(
        "say(begin='drain')\n" + WAIT + "sum(range(20_000_000))\n"
        "say(workload='drain', value=8, unit='/s', operations=10)\n" + WAIT,
        server,
        "drain",
    )
    assert samples["drain"]["value"] == 8
    assert samples["drain"]["wal"] == 100  # 1,000 bytes by 10 operations
    assert samples["drain"]["cpu_client"] > 0
    assert server.counted == [False]


def test_a_contestant_is_told_what_to_do_and_waits_while_meters_are_read(
    server: FakeServer,
) -> None:
    samples = run(
        "e = os.environ\nsay(begin='drain')\n"
        "assert sys.stdin.readline() == '\\n' and e['BENCH_WAITS']\n"
        "say(workload='drain', value=float(e['BENCH_SECONDS']), unit=e['BENCH_WORKLOADS'])\n",
        server,
        "drain",
        "pickup",
    )
    assert (samples["drain"]["value"], samples["drain"]["unit"]) == (0.5, "drain,pickup")


def test_its_own_figure_for_processor_time_counts(server: FakeServer) -> None:
    program = "say(begin='x')\nsay(workload='x', value=1, unit='/s', cpu_client=4.5)\n"
    assert run(program, server)["x"]["cpu_client"] == 4.5


@pytest.mark.parametrize("values", [(7, 9), (9, 7)])
def test_of_two_ways_the_better_counts(server: FakeServer, values: tuple[int, int]) -> None:
    program = "".join(
        f"say(begin='steps_100')\nsay(workload='steps_100', value={value}, unit='/s')\n"
        for value in values
    )
    assert run(program, server)["steps_100"]["value"] == 9


def test_an_idle_worker_has_its_statements_and_its_memory_counted(server: FakeServer) -> None:
    program = "import time\nsay(begin='idle')\ntime.sleep(0.2)\nsay(workload='idle')\n" + WAIT * 2
    sample = run(program, server, "idle")["idle"]
    assert server.counted == [True]
    assert 0 < sample["value"] <= 30 / 0.1  # it slept for 0.2 s, and 30 were counted
    assert sample["memory"] > 1
    assert sample["bare"] > 1


def test_lines_for_somebody_else_are_not_answered(server: FakeServer) -> None:
    heard: list[dict[str, Any]] = []

    def hear(_database: Database, line: dict[str, Any]) -> bool:
        heard.append(line)
        return "window" in line

    program = "say(window=1)\nsay(begin='x')\nassert sys.stdin.readline() == '\\n'\n"
    program += "say(workload='x', value=1, unit='/s')\n"
    assert list(run(program, server, on_line=hear)) == ["x"]
    assert [*heard[0]] == ["window"]


@pytest.mark.parametrize(
    "program", ["sys.exit(3)", "say(workload='x', value=1, unit='/s')\n" + WAIT]
)
def test_a_contestant_that_fails_is_named(server: FakeServer, program: str) -> None:
    with pytest.raises(Failed, match=r"^It ended"):
        run(program, server)


def test_the_database_is_prepared_before_the_contestant_begins(server: FakeServer) -> None:
    seen: list[int] = []

    def prepare(database: Database) -> None:
        seen.append(cast("FakeDatabase", database).looks)

    run("say(begin='x')", server, prepare=prepare)
    assert seen == [0]


def test_a_bare_process_has_memory() -> None:
    assert bare_memory(contestant("")) > 1


# --- after the rounds -------------------------------------------------------------------


def test_medians_are_taken_field_by_field() -> None:
    rounds = [
        {"drain": {"unit": "/s", "value": value, "wal": wal}}
        for value, wal in ((3, 30), (1, 10), (2, 500))
    ]
    assert medians([*rounds, {}]) == {
        "drain": {"unit": "/s", "value": 2, "wal": 30, "rounds": [3, 1, 2]}
    }


def test_above_one_is_better_for_rates_and_for_times() -> None:
    assert ratio({"unit": "/s", "value": 30}, {"unit": "/s", "value": 10}) == 3
    assert ratio({"unit": "ms", "value": 30}, {"unit": "ms", "value": 10}) == pytest.approx(1 / 3)
    assert ratio({"unit": "ms", "value": 0}, {"unit": "ms", "value": 10}) == 0


def test_each_of_ours_is_held_against_the_ceiling_and_each_peer() -> None:
    results: dict[str, Any] = {
        "sql": {"drain": {"unit": "/s", "value": 100}},
        "c": {"drain": {"unit": "/s", "value": 50}, "idle": {"unit": "idle", "value": 1}},
        "river": {"drain": {"unit": "/s", "value": 25}, "pickup": {"unit": "ms", "value": 1}},
    }
    add_ratios(results, ["river"])
    assert results["c"]["drain"]["ratio"] == 0.5
    assert results["c"]["drain"]["peers"] == {"river": 2}
    assert results["river"]["drain"]["ratio"] == 0.25
    assert "peers" not in results["river"]["drain"]
    assert "ratio" not in results["sql"]["drain"]
    assert "ratio" not in results["c"]["idle"]
