"""`workflows replay`: today's code on the histories of before, without running anything.

For CI: a change of a workflow's code that live workflows could not go on with
is found before it is deployed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from ._client import Client
from ._errors import WrongLanguage
from ._functions import Function
from ._registry import registry
from ._replay import Replay

T = TypeVar("T")

Json = dict[str, Any]

_LANGUAGE = "python"
_OPEN = ("scheduled", "pending", "running", "suspended")
_PAGE = 100
# What a worker fails a workflow with whose commands or result the engine did not take.
_REFUSED = ("HistoryTooLong", "InvalidPayload", "InvalidRequest", "PayloadTooLarge")
# What code fails with that is not made for this history; the rest can have come with an event.
_UNFIT = ("NotDurableError", "VersionError")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one history.

    Attributes:
        id: of the workflow.
        run: which go of it.
        name: of its function.
        events: how many the history has.
        verdict: "fits"; "differs": the code asks for something else than history recorded, or
            ends otherwise; "raises": the code fails where a worker had it wait; "unknown": no
            module that was given has the function.
        message: what does not fit.
    """

    id: str
    run: int
    name: str
    events: int
    verdict: Literal["fits", "differs", "raises", "unknown"]
    message: str = ""


def check(
    execution: Mapping[str, Any], events: Sequence[Mapping[str, Any]], function: Function[..., Any]
) -> Verdict:
    """Replays one history. Call it where no task is running, such as in a callback of the loop.

    Args:
        execution: as `client.get()` answers it, or the start of `workflows history ID --json`.
        events: all events of the run, in order of position.
        function: the workflow's code of today.

    Raises:
        WrongLanguage: code of another language wrote the history.
    """
    if is_other(execution, events):
        language, id = _language_of(execution, events), execution["id"]
        raise WrongLanguage(
            f"workflow {id} was begun by code in {language}, and only such code can go on with "
            f"it; this is {_LANGUAGE}",
            details={"id": id, "language": language},
        )
    claimed: Json = {**execution, **arguments_of(execution, events)}
    if claimed["status"] == "suspended" and not claimed.get("parked"):
        claimed["seen"] = len(events)  # it waits, so code has seen them all
    replay = Replay(claimed, function)
    try:
        replay.feed(events)
        turn = replay.turn()
        ends = "ends" if turn.then in ("complete", "fail", "continue") else "waits"
        if turn.then == "park":
            verdict, message = "differs", turn.message
        elif message := _other_end(claimed, events, turn.then, turn.result, turn.error):
            verdict = "raises" if turn.then == "fail" and claimed["status"] in _OPEN else "differs"
            message += f"\nThe code {ends} after position {replay.position}."
        else:
            verdict = "fits"
    finally:
        replay.discard()
    return Verdict(claimed["id"], claimed["run"], claimed["name"], len(events), verdict, message)


def is_other(execution: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> bool:
    """Whether code of another language wrote the history."""
    # For this project's own tests, which compare what both languages make of one history.
    if os.environ.get("WORKFLOWS_TEST_OTHER_LANGUAGE") == "1":
        return False
    return _language_of(execution, events) not in (None, _LANGUAGE)


def _language_of(execution: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str | None:
    told: Json = {}
    if events and events[0]["type"] == "started":
        told = cast("Json", events[0].get("payload") or {})
    return told.get("language") or execution.get("language") or None


def arguments_of(execution: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Json:
    """Answers a run's arguments: those of one that has gone on are in its last event."""
    told = execution
    if events and events[-1]["type"] == "continued":
        told = cast("Mapping[str, Any]", events[-1]["payload"])
    return {"args": told.get("args") or [], "kwargs": told.get("kwargs") or {}}


def _other_end(
    claimed: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    then: str,
    result: Any,
    error: Mapping[str, Any] | None,
) -> str:
    """Says how the code's end differs from the one that was recorded; "" if it does not."""
    status: str = claimed["status"]
    today = _said(then, result, error)
    if events and events[-1]["type"] == "continued":
        return "" if then == "continue" else f"It went on as a new run. Today it {today}."
    if status == "completed" and (then != "complete" or result != claimed.get("result")):
        was = _said("complete", claimed.get("result"), None)
        return f"In its time it {was}. Today it {today}."
    if status == "failed" and _failed_itself(claimed) and then != "fail":
        return f"In its time it {_said('fail', None, claimed.get('error'))}. Today it {today}."
    if status == "suspended" and then == "fail" and not claimed.get("parked"):
        return f"It waits, in the code that ran last. Today it {today}."
    if status in _OPEN and error is not None and error.get("type") in _UNFIT:
        return f"It has not ended. Today it {today}."
    return ""


def _failed_itself(claimed: Mapping[str, Any]) -> bool:
    """Whether the code failed; a deadline or a refused result is nothing that it does."""
    error = cast("Mapping[str, Any]", claimed.get("error") or {})
    return error.get("language") != "core" and error.get("type") not in _REFUSED


def _said(then: str, result: Any, error: Mapping[str, Any] | None) -> str:
    if then == "complete":
        return f"ends with the result {_short(json.dumps(result, ensure_ascii=False))}"
    if then == "fail" and error is not None:
        return f"fails with {error.get('type')}: {_short(str(error.get('message')))}"
    return {"continue": "goes on as a new run", "fail": "fails"}.get(then, "waits")


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."


# --- where histories come from ----------------------------------------------------------

Stored = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]


async def stored(
    client: Client, ids: Sequence[str], statuses: Sequence[str], names: Sequence[str], limit: int
) -> AsyncGenerator[Stored]:
    """Reads histories from the database, one at a time: those named, or those of a state.

    What code of another language has begun is passed over, as workers do, unless it is named.
    """
    found = 0
    if ids:
        for id in ids:
            yield await _read(client, id)
        return
    cursor: str | None = None
    while True:
        page = await client.list(kind="workflow", status=statuses, limit=_PAGE, cursor=cursor)
        for execution in page["executions"]:
            if execution["name"] in names and execution.get("history_length"):
                found_one = await _read(client, execution["id"])
                if is_other(*found_one):
                    continue
                yield found_one
                found += 1
                if found == limit:
                    return
        cursor = page.get("cursor")
        if not cursor:
            return


async def _read(client: Client, id: str) -> Stored:
    execution = await client.get(id)
    return execution, await client.history(id, run=execution["run"])


def from_file(path: Path) -> Stored:
    """Reads what `workflows history ID --json` printed.

    Raises:
        ValueError: it is something else.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        execution, events = told["execution"], told["events"]
        run = told.get("run", execution["run"])
        if not all({"position", "type", "at"} <= event.keys() for event in events):
            raise ValueError("an event has no position, type or time")
        if run != execution["run"]:  # what it came to says nothing of an earlier run
            execution = {**execution, "run": run, "status": "continued"}
        return execution, events
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} does not hold what `workflows history ID --json` prints: {error!r}"
        ) from error


# --- the command ------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Answers the parser of the command's own arguments."""
    parser = argparse.ArgumentParser(
        prog="workflows replay",
        description="Replay stored histories with the code of today. Nothing is run and nothing"
        " written: no activity, no step. Without --id and --file these are all workflows of the"
        " modules that are not finished.",
        epilog="Exit status: 0 all fit, 1 one does not, 2 the command is wrong. To keep a history"
        " beside the tests: workflows history ID --json > order.json",
        allow_abbrev=False,
    )
    several: Json = {"action": "append", "default": []}
    parser.add_argument(
        "-m", "--module", dest="modules", metavar="MODULE", required=True, **several,
        help="module with the workflows, as for import; may be given several times",
    )  # fmt: skip
    parser.add_argument("--id", dest="ids", metavar="ID", help="one of the database", **several)
    parser.add_argument(
        "--file", dest="files", metavar="FILE", type=Path, nargs="+", **several,
        help="what `workflows history ID --json` printed",
    )  # fmt: skip
    parser.add_argument(
        "--status", dest="statuses", metavar="STATUS", choices=[*_OPEN, "completed", "failed"],
        help="of the workflows, instead of all that are not finished", **several,
    )  # fmt: skip
    parser.add_argument(
        "--name", dest="names", metavar="NAME", help="of the workflow's function", **several
    )
    parser.add_argument("--limit", metavar="N", type=int, default=0, help="stop after so many")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--database-url", metavar="URL", help="default $WORKFLOWS_DATABASE_URL")
    parser.add_argument("--schema", metavar="NAME", help="default $WORKFLOWS_SCHEMA")
    return parser


def run(options: argparse.Namespace) -> int:
    """Replays what the options say, and answers the status to exit with."""
    try:
        verdicts = asyncio.run(_verdicts(options))
    except (ValueError, OSError, WrongLanguage) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"histories": [asdict(each) for each in verdicts]}, ensure_ascii=False))
    else:
        _summary(verdicts)
    return 0 if all(each.verdict == "fits" for each in verdicts) else 1


async def _verdicts(options: argparse.Namespace) -> list[Verdict]:
    verdicts: list[Verdict] = []

    async def judge(execution: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> None:
        verdict = await _in_a_callback(lambda: _judged(execution, events))
        verdicts.append(verdict)
        if not options.json:
            _tell(verdict)

    files: list[Path] = [each for group in options.files for each in group]
    for path in files:
        await judge(*from_file(path))
    if options.ids or not files:
        # Without migrating: nothing is written, to a private database neither.
        async with Client(options.database_url, schema=options.schema, migrate=False) as client:
            statuses = options.statuses or _OPEN
            names = options.names or registry.names().get("workflow", [])
            found = stored(client, options.ids, statuses, names, options.limit)
            async with aclosing(found):
                async for execution, events in found:
                    await judge(execution, events)
    return verdicts


async def _in_a_callback(call: Callable[[], T]) -> T:
    """Calls where no task is current: workflow code is never run inside one of another loop."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def callback() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    loop.call_soon(callback, context=contextvars.Context())
    return await done


def _judged(execution: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Verdict:
    function = registry.find("workflow", execution["name"])
    if function is not None:
        with redirect_stdout(sys.stderr):  # what workflow code prints is no verdict
            return check(execution, events, function)
    message = f"No module that was given has a workflow named {execution['name']!r}."
    about = (execution["id"], execution["run"], execution["name"], len(events))
    return Verdict(*about, "unknown", message)


def _tell(verdict: Verdict) -> None:
    events = f"{verdict.events} event{'' if verdict.events == 1 else 's'}"
    run = f" run {verdict.run}" if verdict.run > 1 else ""
    print(f"{verdict.verdict:<8} {verdict.id}{run}  {verdict.name}, {events}")
    for line in verdict.message.splitlines():
        print(f"         {line}".rstrip())


def _summary(verdicts: Sequence[Verdict]) -> None:
    if not verdicts:
        print("no history to replay: no workflow of these modules is unfinished")
        return
    counts = Counter(each.verdict for each in verdicts)
    fit = counts.pop("fits", 0)
    rest = "".join(f", {count} {_VERBS[verdict]}" for verdict, count in sorted(counts.items()))
    print(f"{len(verdicts)} replayed: {fit} fit{rest}")


_VERBS = {"differs": "differ", "raises": "raise", "unknown": "of code that is not here"}
