"""`workflows replay`: verdicts on histories, and the command."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import workflows
import workflows._functions as functions
from workflows import WrongLanguage, activity, continue_as_new, workflow
from workflows._registry import Registry
from workflows._replay_command import Verdict, check

AT = "2026-01-01T00:00:00+00:00"
ID = "018f0000-0000-7000-8000-000000000001"


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "registry", Registry())


def execution(**fields: Any) -> dict[str, Any]:
    about = {"id": ID, "root_id": ID, "run": 1, "name": "w", "queue": "default"}
    return {**about, "kind": "workflow", "status": "completed", **fields}


def history(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"position": n, "at": AT, **event} for n, event in enumerate(events, 1)]


STARTED = {"type": "started"}


def scheduled(name: str) -> dict[str, Any]:
    return {"type": "activity_scheduled", "sequence": 1, "name": name, "payload": {"id": ID}}


def completed(name: str, result: Any) -> dict[str, Any]:
    return {"type": "activity_completed", "sequence": 1, "name": name, "payload": result}


def verdict_of(events: list[dict[str, Any]], **fields: Any) -> Verdict:
    """Judges a workflow that doubles what its activity answers."""

    @activity(name="a")
    async def a() -> int: ...

    @workflow(name="w")
    async def w() -> int:
        return 2 * await a.run()

    return check(execution(**fields), events, w)


CALLED = [STARTED, scheduled("a"), completed("a", 3)]


def test_a_history_fits_the_code_that_made_it() -> None:
    verdict = verdict_of(history(*CALLED), result=6)
    assert verdict == Verdict(ID, 1, "w", 3, "fits")


def test_a_history_fits_the_code_that_waits_where_it_did() -> None:
    assert verdict_of(history(*CALLED[:2]), status="suspended").verdict == "fits"


def test_no_body_is_run() -> None:
    ran: list[str] = []

    @activity(name="a")
    def a() -> None:
        ran.append("activity")

    @workflows.step(name="s")
    def s() -> None:
        ran.append("step")

    @workflow(name="w")
    async def w() -> None:
        await workflows.gather(a.run(), s.run())

    assert check(execution(status="pending"), history(STARTED), w).verdict == "fits"
    assert ran == []


def test_other_commands_differ_and_both_are_named() -> None:
    verdict = verdict_of(history(STARTED, scheduled("b"), completed("b", 3)), result=6)
    assert verdict.verdict == "differs"
    assert "'b'" in verdict.message
    assert "'a'" in verdict.message


def test_another_result_differs() -> None:
    verdict = verdict_of(history(*CALLED), result=9)
    assert verdict.verdict == "differs"
    assert "the result 9. Today it ends with the result 6" in verdict.message


def test_what_failed_and_ends_well_today_differs() -> None:
    error = {"type": "ValueError", "message": "no", "language": "python"}
    verdict = verdict_of(history(*CALLED), status="failed", error=error)
    assert verdict.verdict == "differs"
    assert "fails with ValueError: no. Today it ends with the result 6" in verdict.message


def test_a_deadline_is_nothing_that_the_code_does() -> None:
    error = {"type": "ExecutionTimeout", "message": "late", "language": "core"}
    assert verdict_of(history(*CALLED[:2]), status="failed", error=error).verdict == "fits"


def test_code_that_fails_where_it_waited_raises() -> None:
    @workflow(name="w")
    async def w() -> None:
        raise KeyError("new bug")

    verdict = check(execution(status="suspended"), history(STARTED), w)
    assert verdict.verdict == "raises"
    assert "KeyError" in verdict.message


@pytest.mark.parametrize("status", ["pending", "suspended"])
def test_code_without_the_recorded_version_raises_wherever_the_workflow_stands(
    status: str,
) -> None:
    @workflow(name="w")
    async def w() -> None:
        workflows.get_version("tax", 2, 3)
        await workflows.wait_for_signal("go")

    marked = {"type": "version_marked", "sequence": 1, "name": "tax", "payload": 1}
    parked = {"parked": "it does not fit"} if status == "suspended" else {}
    verdict = check(execution(status=status, **parked), history(STARTED, marked), w)
    assert verdict.verdict == "raises"
    assert "VersionError" in verdict.message


@pytest.mark.parametrize(("status", "expected"), [("suspended", "fits"), ("pending", "raises")])
def test_a_version_is_the_one_that_a_worker_would_choose(status: str, expected: str) -> None:
    """R6: the oldest where code has waited before; here the newest would be none that fits."""

    @workflow(name="w")
    async def w() -> None:
        if workflows.get_version("tax", 1, 2) == 2:
            await asyncio.Event().wait()
        await workflows.wait_for_signal("go")

    assert check(execution(status=status), history(STARTED), w).verdict == expected


def test_a_failure_that_has_come_with_an_event_is_what_the_code_will_do() -> None:
    failed: dict[str, Any] = {"type": "activity_failed", "sequence": 1, "name": "a"}
    assert verdict_of(history(*CALLED[:2], failed), status="pending").verdict == "fits"


def test_a_result_that_was_refused_is_nothing_that_the_code_does() -> None:
    refused = {"type": "PayloadTooLarge", "message": "2 MiB", "language": "python"}
    assert verdict_of(history(*CALLED), status="failed", error=refused).verdict == "fits"


def test_a_run_that_went_on_is_judged_with_its_own_arguments() -> None:
    @workflow(name="w")
    async def w(n: int) -> int:
        if n < 3:
            continue_as_new(n + 1)
        return n

    went_on: dict[str, Any] = {"type": "continued", "payload": {"args": [2], "kwargs": {}}}
    known = execution(args=[3], result=3, run=2)
    assert check({**known, "run": 1}, history(STARTED, went_on), w).verdict == "fits"
    assert check(known, history(STARTED), w).verdict == "fits"
    ends: dict[str, Any] = {"type": "continued", "payload": {"args": [3], "kwargs": {}}}
    assert check({**known, "run": 1}, history(STARTED, ends), w).verdict == "differs"


def begun_in(language: str) -> dict[str, Any]:
    return {"type": "started", "payload": {"language": language, "sdk_version": "1"}}


@pytest.mark.parametrize(
    ("started", "fields"), [(begun_in("node"), {}), (STARTED, {"language": "node"})]
)
def test_the_history_of_another_language_is_refused(
    started: dict[str, Any], fields: dict[str, Any]
) -> None:
    with pytest.raises(WrongLanguage, match="begun by code in node") as caught:
        verdict_of(history(started, *CALLED[1:]), result=6, **fields)
    assert caught.value.code == "wrong_language"


def test_the_history_of_this_language_is_not_refused() -> None:
    events = history(begun_in("python"), *CALLED[1:])
    assert verdict_of(events, language="python", result=6).verdict == "fits"


def test_tests_of_this_project_compare_what_the_languages_make_of_a_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKFLOWS_TEST_OTHER_LANGUAGE", "1")
    events = history(begun_in("node"), scheduled("b"), completed("b", 3))
    differs = verdict_of(events, result=6)
    assert differs.verdict == "differs"
    assert "at position 2 history recorded: the activity 'b'" in differs.message


# --- the command ------------------------------------------------------------------------

CODE = """
from workflows import activity, workflow, wait_for_signal

@activity
async def {first}() -> int: return 1

@workflow
async def order(n: int) -> int:
    print("what the code prints")
    m = await {first}.run()
    return n + m + await wait_for_signal("go", int)
"""

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(database: str, tmp_path: Path) -> Command:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "workflows", *arguments],
            cwd=tmp_path,
            env={**os.environ, "WORKFLOWS_DATABASE_URL": database},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@contextmanager
def worker_of(database: str, directory: Path) -> Generator[subprocess.Popen[bytes]]:
    """A worker for the module shop."""
    with subprocess.Popen(
        [sys.executable, "-m", "workflows", "worker", "-m", "shop"],
        cwd=directory,
        env={**os.environ, "WORKFLOWS_DATABASE_URL": database},
        stderr=subprocess.DEVNULL,
    ) as worker:
        try:
            yield worker
        finally:
            worker.terminate()


async def test_the_command_judges_what_is_not_finished(
    command: Command, database: str, tmp_path: Path
) -> None:
    """NonDeterminismError is found by `workflows replay` before a deployment."""
    (tmp_path / "shop.py").write_text(CODE.format(first="reserve"))
    async with workflows.Client(database) as client:
        [created] = await client.create([{"kind": "workflow", "name": "order", "args": [1]}])
        id = created["id"]
        with worker_of(database, tmp_path) as worker:
            while "activity_completed" not in {e["type"] for e in await client.history(id)}:
                assert worker.poll() is None
            while (await client.get(id))["status"] != "suspended":
                assert worker.poll() is None
        before = await client.history(id)

        fits = command("replay", "-m", "shop", "--id", id)
        assert (fits.returncode, fits.stderr) == (0, "what the code prints\n")
        assert "prints" not in fits.stdout
        assert f"fits     {id}  order, {len(before)} events" in fits.stdout
        stored = command("history", id, "--json")
        (tmp_path / "order.json").write_text(stored.stdout)

        (tmp_path / "shop.py").write_text(CODE.format(first="charge"))
        differs = command("replay", "-m", "shop")
        assert differs.returncode == 1
        assert f"differs  {id}  order" in differs.stdout
        assert "'reserve'" in differs.stdout
        assert "'charge'" in differs.stdout
        assert "1 replayed: 0 fit, 1 differ" in differs.stdout

        assert command("replay", "-m", "shop", "--name", "other").stdout.startswith("no history")
        assert command("replay", "-m", "shop", "--name", "order").stdout == differs.stdout

        as_json = command("replay", "-m", "shop", "--file", "order.json", "--json")
        assert as_json.returncode == 1
        [judged] = json.loads(as_json.stdout)["histories"]
        assert (judged["id"], judged["verdict"]) == (id, "differs")
        assert await client.history(id) == before  # nothing was written
        await client.terminate(id)


def test_what_is_no_history_is_said_to_be_none(command: Command, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(CODE.format(first="reserve"))
    no_events = {"execution": execution(), "events": [{"position": 1}]}
    for text in ("[]", json.dumps(no_events)):
        (tmp_path / "wrong.json").write_text(text)
        wrong = command("replay", "-m", "shop", "--file", "wrong.json")
        assert wrong.returncode == 2
        assert "does not hold what `workflows history ID --json` prints" in wrong.stderr
    assert command("replay").returncode == 2
    assert command("replay", "-m", "nowhere").returncode == 2
    other = {"execution": execution(), "events": history(begun_in("node"))}
    (tmp_path / "other.json").write_text(json.dumps(other))
    (tmp_path / "shop.py").write_text(CODE.format(first="reserve").replace("def order", "def w"))
    refused = command("replay", "-m", "shop", "--file", "other.json")
    assert refused.returncode == 2
    assert "was begun by code in node" in refused.stderr
    missing = command("replay", "-m", "shop", "--file", "missing.json")
    assert (missing.returncode, "Traceback" in missing.stderr) == (2, False)
