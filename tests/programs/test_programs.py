"""Random programs, on workers that are killed and stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from program_evidence import by_language
from program_languages import LANGUAGES
from program_run import Plan
from programs import program, run, tell

# The same ones every day; `make programs` runs others, and more.
SEEDS = range(1, 51)


@pytest.mark.timeout(600)
async def test_fifty_random_programs_end_as_the_model_allows(
    database_url: str, tmp_path: Path
) -> None:
    programs = [program(seed) for seed in SEEDS]
    report = await run(database_url, programs, Plan(), tmp_path / "stage")
    assert not report.failed, tell(report)
    assert len(report.trees) == len(SEEDS)
    ran = by_language(report.trees)
    assert all(ran["workflow", language] > len(SEEDS) / 2 for language in LANGUAGES), ran
    assert report.kills, "nobody was killed"
    assert sum(len(tree.runs) for tree in report.trees) > 2 * len(SEEDS)
