"""A test of the workflow beside it: no database, and no two seconds. Run it with pytest."""

from quickstart import greet, welcome
from workflows.testing import WorkflowEnvironment


def test_the_welcome() -> None:
    with WorkflowEnvironment() as env:
        env.replace(greet, returns="Good evening.")
        assert env.run(welcome, "Ada") == "Good evening. How do you do?"
