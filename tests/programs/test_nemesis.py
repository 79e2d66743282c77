"""Who may be killed and stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from program_nemesis import Nemesis


@dataclass
class Worker:
    name: str
    output: str = ""


def test_the_last_one_of_a_language_that_works_is_left_alone() -> None:
    workers: dict[str, Any] = {}

    def spawn(language: str) -> Any:
        name = f"{language} {len(workers)}"
        workers[name] = Worker(name, f"worker {name} serves queue {language}")
        return workers[name]

    nobody: Any = None
    nemesis = Nemesis(nobody, 1, spawn)
    for language in ("python", "node", "python"):
        nemesis.start(language)
    assert [worker.name for worker in nemesis.victims()] == ["python 0", "python 2"]
    workers["python 2"].output = ""  # it has only just been started
    assert nemesis.victims() == []
    nemesis.start("node")
    assert [worker.name for worker in nemesis.victims()] == ["node 1", "node 3"]
