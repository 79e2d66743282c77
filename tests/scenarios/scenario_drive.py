"""Starts a scenario's workflow, does to it what expected.json says, and tells what came of it.

What `do` lists is done in its order. Each entry may have

    when    what must be seen first: {"status": "suspended"}, or "over", or in short "suspended";
            {"event": "timer_fired", "times": 2}: so many events of the type in its history;
            {"noted": "begun"}: a body has noted the word; several of these: all of them
    to      the name of a descendant that is meant instead of the workflow, here and in `when`;
            `nth` says which of several, from 1

and one of

    signal      sends one of this name; `payload`, `key`
    cancel, terminate, retry, resume    with this reason
    open        opens the gate of this name for bodies
    deploy      makes this release the one that runs
    start       starts the workflow again with these fields: for idempotency keys
    look        answers this field of the execution, such as "state"

Answers and refusals are kept, in order, under `seen` in the outcome.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from scenario_outcome import outcome
from workflows import Client, WorkflowsError

Json = dict[str, Any]

PATIENCE = 60.0
_POLL = 0.03
_OVER = ("completed", "failed", "cancelled")


class Drive:
    """One scenario in one way."""

    def __init__(self, client: Client, directory: Path, name: str, way: str) -> None:
        self.client = client
        self.name = name
        self.way = way
        self.id = ""
        self.seen: list[Any] = []
        self._directory = directory
        self._deadline = time.monotonic() + PATIENCE

    async def run(self, start: Mapping[str, Any], do: Sequence[Mapping[str, Any]]) -> Json:
        """Does all of it, and answers the outcome once everything is over."""
        created = await self._start(start)
        self.id = created["id"]
        for each in do:
            await self._do(each)
        return await self._outcome()

    async def _start(self, fields: Mapping[str, Any]) -> Any:
        request = {"kind": "workflow", "name": self.name, "queue": self.way, **fields}
        if "idempotency_key" in fields:  # of this way
            request["idempotency_key"] = f"{fields['idempotency_key']} {self.way}"
        [created] = await self.client.create([request])
        return created

    # --- what is done ---

    async def _do(self, what: Mapping[str, Any]) -> None:
        id = self.id
        if "to" in what:
            id = await self._descendant(what["to"], what.get("nth", 1))
        if "when" in what:
            await self._until(id, what["when"])
        try:
            answer = await self._act(id, what)
        except WorkflowsError as error:
            answer = {"refused": type(error).__name__}
        if answer is not None:
            self.seen.append(answer)

    async def _act(self, id: str, what: Mapping[str, Any]) -> Any:
        for verb in ("cancel", "terminate", "retry", "resume"):
            if verb in what:
                change = await getattr(self.client, verb)(id, what[verb])
                return {verb: change["changed"]}
        if "signal" in what:
            sent = await self.client.signal(
                id, what["signal"], what.get("payload"), what.get("key")
            )
            return dict(sent) if "key" in what else None
        if "start" in what:
            created = await self._start(what["start"])
            return {"created": created["created"], "same": created["id"] == self.id}
        if "look" in what:
            execution = cast(Json, await self.client.get(id))
            return {what["look"]: execution.get(what["look"])}
        for verb, state in (("open", "open"), ("deploy", "deployed")):
            if verb in what:
                self._place.mkdir(exist_ok=True)
                (self._place / f"{what[verb]} is {state}").touch()
        return None

    @property
    def _place(self) -> Path:
        return self._directory / self.id

    # --- what is seen ---

    async def _descendant(self, name: str, nth: int) -> str:
        while True:
            found = [each["id"] for each in await self._descendants() if each["name"] == name]
            if len(found) >= nth:
                return cast(str, found[nth - 1])
            await self._pause(f"a descendant {name}")

    async def _until(self, id: str, when: str | Mapping[str, Any]) -> None:
        wanted = {"status": when} if isinstance(when, str) else when
        while not await self._holds(id, wanted):
            await self._pause(str(wanted))

    async def _holds(self, id: str, wanted: Mapping[str, Any]) -> bool:
        if "noted" in wanted and wanted["noted"] not in self._notes():
            return False
        if "event" in wanted:
            events = await self.client.history(id)
            if sum(e["type"] == wanted["event"] for e in events) < wanted.get("times", 1):
                return False
        if "status" in wanted:
            execution = await self.client.get(id)
            if wanted["status"] == "parked":
                return "parked" in execution
            statuses = _OVER if wanted["status"] == "over" else (wanted["status"],)
            return execution["status"] in statuses
        return True

    async def _pause(self, what: str) -> None:
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"waited for {what}\n{await self.describe()}")
        await asyncio.sleep(_POLL)

    # --- what came of it ---

    async def _outcome(self) -> Json:
        left = max(0.1, self._deadline - time.monotonic())
        try:
            execution = cast(Json, await self.client.wait(self.id, left))
        except TimeoutError:
            raise TimeoutError(f"it did not end\n{await self.describe()}") from None
        while any(each["status"] not in _OVER for each in await self._descendants()):
            await self._pause("all descendants to end")
        runs = range(1, execution["run"] + 1)
        histories = [await self.client.history(self.id, run=run) for run in runs]
        return outcome(
            execution,
            cast("list[list[Json]]", histories),
            await self._descendants(),
            self._notes(),
            self.seen,
        )

    async def exported(self) -> list[Json]:
        """Answers what `workflows history ID --json` prints, of each workflow and each run."""
        below = [each["id"] for each in await self._descendants() if each["kind"] == "workflow"]
        found: list[Json] = []
        for execution in [await self.client.get(id) for id in (self.id, *below)]:
            for run in range(1, execution["run"] + 1):
                events = await self.client.history(execution["id"], run=run)
                found.append({"execution": execution, "run": run, "events": events})
        return found

    async def _descendants(self) -> list[Json]:
        """Answers them in the order in which they were asked for, parents first."""
        page = await self.client.list(root_id=self.id, limit=1000)
        rows = cast("list[Json]", page["executions"])
        return _below(self.id, rows)

    def _notes(self) -> list[str]:
        try:
            return (self._place / "notes").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    async def describe(self) -> str:
        """Says all that is known, for a test that fails."""
        execution = await self.client.get(self.id)
        history = await self.client.history(self.id)
        lines = [json.dumps(each) for each in (execution, *history, *await self._descendants())]
        return "\n".join([*lines, f"notes: {self._notes()}", f"seen: {self.seen}"])


def _below(id: str, rows: Sequence[Json]) -> list[Json]:
    children = sorted(
        (each for each in rows if each.get("parent_id") == id),
        key=lambda each: (each["sequence"], each["id"]),
    )
    return [deeper for child in children for deeper in (child, *_below(child["id"], rows))]
