"""Errors: a tree of public classes."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest
import workflows
import workflows._errors as errors
import workflows._outcomes as outcomes
import workflows._wire_errors as wire_errors

CLASSES = {
    cls
    for module in (errors, outcomes, wire_errors)
    for _, cls in inspect.getmembers(module, inspect.isclass)
    if issubclass(cls, BaseException) and cls.__module__.partition(".")[0] == "workflows"
}
PUBLIC = [cls for cls in CLASSES if not cls.__name__.startswith("_")]


def test_every_class_is_public_and_in_the_tree_at_the_top() -> None:
    tree = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(tree) == sorted(cls.__name__ for cls in PUBLIC)
    for cls in PUBLIC:
        assert getattr(workflows, cls.__name__) is cls
        assert cls.__module__ == "workflows"  # a traceback says what to import


def test_timeouts_are_also_the_timeouts_that_python_knows() -> None:
    for cls in (
        workflows.Timeout,
        workflows.ResultTimeout,
        workflows.SignalTimeout,
        workflows.ActivityTimeout,
        workflows.ChildTimeout,
    ):
        assert issubclass(cls, TimeoutError)
    assert not issubclass(workflows.Evicted, Exception)


@pytest.mark.parametrize(
    "error",
    [
        workflows.WorkflowsError("m", details={"a": 1}, retryable=True, code="c"),
        workflows.PayloadError("$.a", "no"),
        workflows.Timeout("m"),
        workflows.RemoteError("T", "m", stack="s", language="node"),
        workflows.ActivityError("T", "m", 3),
        workflows.ActivityTimeout("T", "m", 3),
        workflows.ChildFailed("T", "m", "id"),
        workflows.ExecutionFailed("T", "m", "id"),
        workflows.ExecutionCancelled("m", "id"),
        workflows.ResultTimeout("m", "id"),
        workflows.SignalTimeout("m", "approve"),
        workflows.NonDeterminismError("m", position=3, recorded="a", attempted="b"),
        workflows.VersionError("m", change="c", recorded=1, minimum=2, maximum=3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling(error: workflows.WorkflowsError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
