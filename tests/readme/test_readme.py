"""What the README shows is what is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SHOWN = re.findall(
    r"<!-- begin (\S+) -->\n```\w*\n(.*?)```\n<!-- end \1 -->",
    README + (ROOT / "docs" / "testing.md").read_text(),
    re.DOTALL,
)


def test_the_readme_shows_the_examples_as_they_are() -> None:
    assert SHOWN, "the README shows no example"
    for path, text in SHOWN:
        assert text == (ROOT / path).read_text(), f"copy {path} into the document that shows it"


# How an example is run, and how a test.
_PYTHON = (
    [sys.executable],
    [sys.executable, "-m", "pytest", "--import-mode=prepend"],
)
_TSX = ["node", "--import", (ROOT / "node_modules" / "tsx" / "dist" / "loader.mjs").as_uri()]
_NODE = (_TSX, [*_TSX, "--test"])


def _ran(
    command: list[str], directory: Path, patience: float = 100
) -> subprocess.CompletedProcess[str]:
    binaries = os.environ.get("WORKFLOWS_TEST_POSTGRES_BIN")
    environment = os.environ | ({"WORKFLOWS_POSTGRES_BIN": binaries} if binaries else {})
    environment.pop("WORKFLOWS_DATABASE_URL", None)
    return subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )


@pytest.mark.parametrize("path", [path for path, _ in SHOWN if not path.endswith("/shop.ts")])
def test_each_example_in_the_readme_runs(path: str, tmp_path: Path) -> None:
    runner = _NODE if path.endswith(".ts") else _PYTHON
    is_test = Path(path).name.startswith("test_")
    done = _ran([*runner[is_test], str(ROOT / path)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_node_quickstart_is_an_es_module_as_well(tmp_path: Path) -> None:
    """Neither kind of module knows the other's way to tell whether it is the main one."""
    text = (ROOT / "examples" / "node" / "quickstart.ts").read_text()
    (tmp_path / "quickstart.mts").write_text(text)
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    done = _ran([*_TSX, "quickstart.mts"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Hello, Ada!" in done.stdout


@pytest.mark.timeout(240)
def test_the_demo_keeps_its_promises_when_a_worker_of_each_language_is_killed() -> None:
    done = _ran([sys.executable, "examples/python/orders/demo.py"], ROOT, patience=200)
    assert done.returncode == 0, done.stdout + done.stderr
    for language in ("Python", "Node"):
        assert f"{language} worker 2 is dead" in done.stdout
    assert len(re.findall(r"^  yes  ", done.stdout, re.MULTILINE)) == 6


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), ROOT / "CONTRIBUTING.md"]:
        text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_make_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
