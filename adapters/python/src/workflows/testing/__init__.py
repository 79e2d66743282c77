"""Workflows in a test: no database, no library, no waiting.

with WorkflowEnvironment() as env:
    env.replace(charge, returns="receipt 1")
    assert env.run(order, "4242") == "receipt 1"
    assert env.calls(charge)[0].args == ("4242", 100)
"""

from ._calls import Call as Call
from ._environment import Replacement as Replacement
from ._environment import WorkflowEnvironment as WorkflowEnvironment
from ._errors import Endless as Endless
from ._errors import Stuck as Stuck
from ._handle import EnvironmentHandle as EnvironmentHandle
from ._stored import Next as Next
from ._stored import replay as replay

for _each in list(globals().values()):
    if isinstance(_each, type) and issubclass(_each, BaseException):
        _each.__module__ = __name__  # a traceback names what can be imported
