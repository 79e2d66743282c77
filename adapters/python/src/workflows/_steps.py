"""Steps: bodies that run inside their workflow's own worker, with their retries."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from ._attempts import Attempt, Bodies, Reason, wire_error
from ._calls import StepCall
from ._failures import called, tell
from ._options import retry_policy
from ._payload import encode, plain
from ._settings import seconds


def stop_step(reason: Reason, task: asyncio.Task[None], attempt: Attempt) -> None:
    """Ends a step whose outcome nobody waits for."""
    attempt.stop(reason, interrupt=False)
    task.cancel()  # also between two tries


def unheard(details: Any) -> None:
    """A step has no progress of its own: its workflow's set_state has."""


# Hears of a step's end: whether it succeeded, and its result or its error in JSON.
Ended = Callable[[StepCall, Attempt, bool, str], None]


async def run_step(bodies: Bodies, step: StepCall, attempt: Attempt, ended: Ended) -> None:
    """Runs a step with its retries, and tells how it has ended."""
    function = step.function
    timeout = function.options_set.get("timeout")
    limit = None if timeout is None else seconds(timeout)
    for number in itertools.count(1):
        if number > 1:
            attempt.again()
        ok, value = await bodies.run(function, step.args, step.kwargs, attempt, limit)
        if ok:
            try:
                result = encode(plain(value, function.result_type, path="result"), "result")
            except Exception as error:
                value = error
            else:
                ended(step, attempt, True, result)
                return
        if attempt.is_given_up:
            ended(step, attempt, False, "")
            return
        policy = retry_policy("step", function.options_set)
        wire = wire_error(value, policy)
        wire["details"] = {**wire.get("details", {}), "attempts": number}
        tell(f"step {function.name} of {called(attempt.claimed)}", wire, number)
        if wire.get("non_retryable") or number > policy.get("retries", 3) or _is_cancelled():
            ended(step, attempt, False, encode(wire))
            return
        await asyncio.sleep(_pause(policy, number, bodies.spread()))


def _is_cancelled() -> bool:
    """Whether the task is to end, as when its event loop is closed: no further try then."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _pause(policy: Mapping[str, Any], number: int, spread: float) -> float:
    longest, first = policy.get("max_ms", 60_000), policy.get("initial_ms", 1000)
    pause = min(longest, first * policy.get("factor", 2.0) ** min(number - 1, 40)) / 1000
    return pause * (1 + policy.get("jitter", 0.1) * spread)
