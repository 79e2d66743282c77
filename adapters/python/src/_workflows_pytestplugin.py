"""The pytest plugin of libworkflows: the fixture `workflow_environment`.

It stands beside the package, so that pytest does not import the package where no test uses it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from workflows.testing import WorkflowEnvironment

_MARKER = "workflow_environment"


def pytest_configure(config: pytest.Config) -> None:
    """Names the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(**options): options of the environment that the fixture {_MARKER} gives,"
        " as of workflows.testing.WorkflowEnvironment",
    )


@pytest.fixture
def workflow_environment(request: pytest.FixtureRequest) -> Generator[WorkflowEnvironment]:
    """A WorkflowEnvironment: workflows run in memory, with time skipped.

    Options are given by a marker, which may stand at the test, its class or its module:

        @pytest.mark.workflow_environment(cold=True)
    """
    from workflows.testing import WorkflowEnvironment

    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers(_MARKER))):
        if marker.args:
            raise TypeError(f"the options of @pytest.mark.{_MARKER} are given by name")
        options |= marker.kwargs
    with WorkflowEnvironment(**options) as environment:
        yield environment
