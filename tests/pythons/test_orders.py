"""Workflows ask for the same things in the same order in every Python and every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pythons_interpreters import NEXT, SUPPORTED, find
from pythons_programs import PROGRAMS
from pythons_trees import Grower

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

TREES = 100
# One in so many: replaying every prefix of a history takes as long as its length squared.
REPLAYED = 4

Json = dict[str, Any]


def programs() -> list[Json]:
    """What is run: the written workflows and grown ones, each with several fates."""
    written = [
        {"name": function.name, "args": args, "seed": seed}
        for function, args, fates in PROGRAMS
        for seed in range(fates)
    ]
    grown = [{"name": "tree", "args": [Grower(seed).grow()], "seed": seed} for seed in range(TREES)]
    return written + grown


class Python:
    """An interpreter that runs workflows in a process of its own."""

    def __init__(self, path: str, directory: Path) -> None:
        self.path = path
        self.directory = directory

    def record(self) -> list[Json]:
        """Runs the programs, and answers their histories."""
        return self._drive("record", programs())

    def replay(self, histories: list[Json]) -> list[Any]:
        """Replays histories at every prefix, and answers what their code asks for."""
        return self._drive("replay", histories[::REPLAYED])

    def _drive(self, verb: str, given: list[Json]) -> list[Any]:
        source, target = self.directory / f"{verb}.json", self.directory / f"{verb}-done.json"
        source.write_text(json.dumps(given))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters/python/src")]),
            "PYTHONHASHSEED": "random",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Without site: what is installed there belongs to another Python, perhaps.
        command = [self.path, "-S", str(HERE / "pythons_drive.py"), verb, str(source), str(target)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(target.read_text())


class Reference:
    """What the Python that runs the tests makes of the programs."""

    def __init__(self, directory: Path) -> None:
        python = Python(sys.executable, directory)
        self.histories = python.record()
        self.traces = python.replay(self.histories)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return Reference(tmp_path_factory.mktemp("reference"))


@pytest.mark.timeout(600)  # eight interpreters' worth of work, on a machine that may be busy
@pytest.mark.parametrize("version", [*SUPPORTED, NEXT])
def test_each_python_gives_the_same_commands_and_replays_the_histories_of_the_others(
    reference: Reference, version: str, tmp_path: Path
) -> None:
    found = find(version)
    if not found:
        pytest.skip(
            f"Python {version} is not here: install it (as `pyenv install {version}` does), or "
            "name its path in WORKFLOWS_TEST_PYTHONS"
        )
    for full, path in found.items():
        python = Python(path, tmp_path)
        for ours, theirs in zip(reference.histories, python.record(), strict=True):
            assert theirs == ours, f"Python {full} does otherwise than this one"
        # The histories are the same, so each has replayed those of all the others.
        for ours, theirs in zip(reference.traces, python.replay(reference.histories), strict=True):
            assert theirs == ours, f"Python {full} replays otherwise than this one"


def test_the_programs_come_to_all_ends_and_none_meets_its_own_history_as_a_stranger(
    reference: Reference,
) -> None:
    ends = {each["status"] for each in reference.histories}
    assert ends == {"completed", "failed", "cancelled"}
    assert [each["name"] for each in reference.histories if each["parked"]] == []
    assert [trace for trace in reference.traces for turn in trace if turn[0] == "park"] == []
    assert sum(len(each["events"]) for each in reference.histories) > 4000
