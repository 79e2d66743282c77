"""What the interpreters run: `record` what workflows do, `replay` what was recorded.

    python pythons_drive.py record PROGRAMS HISTORIES
    python pythons_drive.py replay HISTORIES TRACES

The three are files of JSON. A program is {"name", "args", "seed"}: a workflow and
what happens to it, a cancel among the rest for every second seed. A history is
what came of it; its trace is what its code asks for after every prefix.
"""

from __future__ import annotations

import gc
import json
import random
import sys
from typing import Any

import pythons_programs as programs
import pythons_trees as trees
from workflows._functions import Function
from workflows._registry import registry
from workflows._replay import Replay
from workflows.testing._rows import FINAL, Row

from adapters.python.tests.story import Story

Json = dict[str, Any]

ROUNDS = 80


def record(program: Json) -> Json:
    """Runs a workflow, with what happens to it by the seed."""
    chance = random.Random(program["seed"])
    story = Story(_function(program), *program["args"], cold=chance.random() < 0.5)
    for _ in range(ROUNDS):
        if story.status in FINAL:
            break
        for _ in range(1 + chance.randrange(3)):
            _happen(story, chance)
        story.go()
    row = story.row
    return {
        **program,
        "status": row.status,
        "parked": row.parked,
        "result": row.result if row.status == "completed" else None,
        "error": row.error and [row.error["type"], row.error["message"]],
        "commands": story.commands,
        "events": row.events,
    }


def _function(program: Json) -> Function[..., Any]:
    function = registry.find("workflow", program["name"])
    assert function is not None, program["name"]
    return function


def _happen(story: Story, chance: random.Random) -> None:
    """Lets one thing happen from outside."""
    engine, row = story.engine, story.row
    asked = [each for each in engine.rows.values() if _is_open(each, row)]
    chosen = chance.random()
    if chosen < 0.04:
        story.stop(row, "enough")
    elif chosen < 0.17:
        engine.tell(row, "signal_received", name=chance.choice(trees.SIGNALS), payload=1)
    elif asked and chosen < 0.6:
        _end(story, asked[chance.randrange(len(asked))], ok=chance.random() < 0.85)
    elif row.timers:
        engine.advance_to(min(due.at for due in row.timers.values()))
    elif asked:
        _end(story, asked[0], ok=True)


def _is_open(each: Row, row: Row) -> bool:
    return each.parent is row and each.status not in FINAL and not each.reported


def _end(story: Story, asked: Row, *, ok: bool) -> None:
    story.engine.take(asked, story.worker)
    if ok:
        story.engine.end(asked, "completed", result=asked.sequence)
    else:
        story.engine.end(asked, "failed", error={"type": "Oops", "message": "no"})


def replay(history: Json) -> list[Any]:
    """Answers what the code asks for after each prefix of its history."""
    function = _function(history)
    claimed = {"id": "018f0000-0000-7000-8000-000000000001", "run": 1, "name": function.name}
    claimed |= {"queue": "default", "args": history["args"], "kwargs": {}}
    trace: list[Any] = []
    for length in range(1, len(history["events"]) + 1):
        replay = Replay(claimed, function)
        replay.feed(history["events"][:length])
        turn = replay.turn()
        steps = [[step.call.sequence, step.call.name] for step in turn.steps]
        error = turn.error and [turn.error["type"], turn.error["message"]]
        trace.append([turn.then, turn.commands, steps, turn.result, error, turn.message])
        replay.discard()
    return trace


def main(verb: str, source: str, target: str) -> None:
    """Does for each what the verb says, with memory laid out differently every time."""
    assert programs
    with open(source) as file:
        given = json.load(file)
    held: list[Any] = []
    found: list[Any] = []
    for each in given:
        held = [object() if n % 3 else [held] for n in range(random.randrange(2000))][::2]
        try:
            found.append({"record": record, "replay": replay}[verb](each))
        except Exception as e:
            e.add_note(json.dumps(each)[:5000])
            raise
    gc.collect()
    with open(target, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
