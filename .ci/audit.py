"""Ask what is known about the dependencies, and write down what they are: `make audit`.

Exits with 0 if nothing is known against them, with 1 if something is, and with 3 if a
database could not be asked: that is no answer. The bills of materials are CycloneDX.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
BILLS = ROOT / "build" / "sbom"
TOOLS = ROOT / "build" / "audit" / "bin"

GOVULNCHECK = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"
CYCLONEDX_GO = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"
CYCLONEDX_NPM = "@cyclonedx/cyclonedx-npm@6.0.1"

CLEAN, FINDINGS, UNANSWERED = "nothing known", "FINDINGS", "NOT ASKED"
PATIENCE = 600

Ended = subprocess.CompletedProcess[str]
Verdict = tuple[str, str]


def run(command: list[str]) -> Ended:
    """Run a command; one that takes too long has failed."""
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return Ended(command, 124, "", f"no answer within {PATIENCE} s")


def last_line(ended: Ended) -> str:
    """Answer what a command said last, which is why it failed."""
    lines = [line for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("exit status")]
    return told[-1].strip() if told else f"exit code {ended.returncode}"


def govulncheck(ended: Ended) -> Verdict:
    """Judge by the exit code, which is 3 if there is something."""
    if ended.returncode == 0:
        return CLEAN, ""
    return (FINDINGS, ended.stdout) if ended.returncode == 3 else (UNANSWERED, last_line(ended))


def pip_audit(ended: Ended) -> Verdict:
    """Judge by the report: the exit code is 1 for findings and for failures."""
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        return UNANSWERED, last_line(ended)
    if found := [p for p in packages if p.get("vulns")]:
        return FINDINGS, json.dumps(found, indent=2)
    if skipped := [p["name"] for p in packages if "skip_reason" in p]:
        return UNANSWERED, "it knows nothing of " + ", ".join(skipped)
    return CLEAN, ""


def npm_audit(ended: Ended) -> Verdict:
    """Judge by the report, which has a message in place of findings if there is none."""
    try:
        report = json.loads(ended.stdout)
    except ValueError:
        return UNANSWERED, last_line(ended)
    found = report.get("vulnerabilities")
    if found is None:
        return UNANSWERED, str(report.get("message", "it answers without a report"))
    return (FINDINGS, json.dumps(found, indent=2)) if found else (CLEAN, "")


def questions() -> dict[str, tuple[list[str], Callable[[Ended], Verdict]]]:
    """Answer whom to ask, and how to read what they say."""
    pins = ["--requirement", "requirements-dev.txt", "--requirement", "bench/requirements.txt"]
    asked = [str(TOOLS / "pip-audit"), "--format=json", "--no-deps", "--disable-pip", *pins]
    return {
        "Go: govulncheck": (["go", "run", GOVULNCHECK, "./..."], govulncheck),
        "Python: pip-audit": (asked, pip_audit),
        "Node: npm audit": (["npm", "audit", "--json"], npm_audit),
    }


def bills() -> dict[str, list[str]]:
    """Answer what writes each bill of materials."""
    go = ["go", "run", CYCLONEDX_GO, "mod", "-json", "-output", str(BILLS / "go.cdx.json")]
    python = [str(TOOLS / "cyclonedx-py"), "environment", "--output-file"]
    node = ["npx", "--yes", CYCLONEDX_NPM, "--ignore-npm-errors", "--output-file"]
    return {
        "go.cdx.json": go,
        "python.cdx.json": [*python, str(BILLS / "python.cdx.json"), ".venv"],
        "node.cdx.json": [*node, str(BILLS / "node.cdx.json")],
    }


def write_bills() -> bool:
    """Write them, and say whether all could be written."""
    BILLS.mkdir(parents=True, exist_ok=True)
    complete = True
    for name, command in bills().items():
        (BILLS / name).unlink(missing_ok=True)
        ended = run(command)
        try:
            count = len(json.loads((BILLS / name).read_text())["components"])
            print(f"{'build/sbom/' + name:<28} {count} components")
        except (OSError, ValueError, KeyError):
            print(f"{'build/sbom/' + name:<28} could not be written: {last_line(ended)}")
            complete = False
    return complete


def main() -> int:
    """Print the verdicts, and answer the exit code."""
    complete = write_bills()
    verdicts: list[str] = []
    for name, (command, judge) in questions().items():
        verdict, text = judge(run(command))
        verdicts.append(verdict)
        print(f"{name:<28} {verdict}" + (f": {text}" if text else ""))
    if FINDINGS in verdicts:
        return 1
    if UNANSWERED in verdicts or not complete:
        print("This is no clean bill of health: not everything could be asked.")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
