"""How the code of a workflow hears of a cancel: once, where it waits."""

from __future__ import annotations

import asyncio
import types
from typing import Any, cast

from ._loop import GROUP_EXIT, WorkflowTask


def is_deaf(root: asyncio.Task[Any]) -> bool:
    """Whether the code waits in a TaskGroup that is being aborted.

    There a cancel is swallowed: the group has cancelled its tasks already, and raises their
    errors when they have cleaned up.
    """
    task: Any = root
    while isinstance(awaited := task._fut_waiter, WorkflowTask):
        task = cast(Any, awaited)  # the cancel goes there
    frame: types.FrameType | None = None
    inner = task.get_coro()
    while (deeper := getattr(inner, "cr_frame", None)) is not None:
        frame, inner = deeper, inner.cr_await
    return frame is not None and frame.f_code is GROUP_EXIT and frame.f_locals["self"]._aborting


def cancellation(root: asyncio.Task[Any]) -> asyncio.CancelledError:
    """Answers what a cancelled root ended with, with the reason that was given."""
    try:
        root.result()
    except asyncio.CancelledError as error:
        return asyncio.CancelledError(str(error) or "the workflow was cancelled")
    raise AssertionError("a cancelled task has no result")
