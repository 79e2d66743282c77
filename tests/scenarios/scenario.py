"""What the scenarios in Python share; scenario.ts is the same for those in TypeScript.

A scenario's workflow runs on one of four queues. The first word of a queue names the language of
the worker that serves it, and what a workflow calls through `other()` goes to the queue beside it:

    python          everything in Python
    node            everything in Node
    python-node     a Python workflow; what it calls runs in Node, what that calls in Python, ...
    node-python     the other way round
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, TypeVar

from workflows import Function, NotDurableError, attempt_info, workflow_info

F = TypeVar("F", bound=Function[..., Any])

OTHER = {
    "python": "python",
    "node": "node",
    "python-node": "node-python",
    "node-python": "python-node",
}


def other(function: F) -> F:
    """Answers the function as the other language has it."""
    return function.options(queue=OTHER[workflow_info().queue])


# --- what the code and the test tell each other -----------------------------------------------


def note(word: str) -> int:
    """Notes in a body that something was done, and answers how often it was by now.

    The test finds all notes, in their order.
    """
    place = _place()
    place.mkdir(exist_ok=True)
    with (place / "notes").open("a+") as notes:
        notes.write(f"{word}\n")
        notes.seek(0)
        return notes.read().splitlines().count(word)


async def gate(name: str) -> None:
    """Waits in a body until the test opens the gate of this name."""
    path = _place() / f"{name} is open"
    while not path.exists():  # noqa: ASYNC110  # the test is in another process
        await asyncio.sleep(0.01)


def deployed(release: str) -> bool:
    """Says, in workflow code too, whether the test has deployed this release of the code by now."""
    return (_place() / f"{release} is deployed").exists()


def _place() -> Path:
    """Where the test and all that came of one workflow meet."""
    try:
        root_id = workflow_info().root_id
    except NotDurableError:
        root_id = attempt_info().root_id
    return Path(os.environ["SCENARIO_NOTES"], root_id)
