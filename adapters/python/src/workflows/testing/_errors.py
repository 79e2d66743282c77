"""What an environment raises beside the errors of production."""

from __future__ import annotations


class Stuck(AssertionError):
    """Nothing can run, nothing is due, and somebody waits all the same.

    The message says what each workflow waits for, such as a signal that nobody sends.
    """


class Endless(AssertionError):
    """It does not come to an end: too many runs, or time beyond the environment's limit."""
