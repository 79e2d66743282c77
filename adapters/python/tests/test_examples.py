"""The examples in docstrings that need no database are run."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "workflows",  # the exceptions, which say that they are of here
        "workflows._annotations",
        "workflows._embedded",
        "workflows._payload",
        "workflows._settings",
        "workflows._wire_errors",
    ],
)
def test_the_examples_of_a_module_say_what_happens(name: str) -> None:
    module = importlib.import_module(name)
    done = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert done.attempted > 0
    assert done.failed == 0
