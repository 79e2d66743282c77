"""What a value must look like, where there is more than one that is right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

_SEVERAL = r"ExceptionGroup: unhandled errors in a TaskGroup \(\d+ sub-exceptions?\)"


class Pattern:
    """Allows some values. Its text is what a failed test shows."""

    def allows(self, value: Any) -> bool:
        raise NotImplementedError


@dataclass(frozen=True)
class Just(Pattern):
    """One value."""

    value: Any

    def allows(self, value: Any) -> bool:
        return value == self.value and type(value) is type(self.value)

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True)
class Text(Pattern):
    """A text of a form."""

    form: str

    def allows(self, value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(self.form, value) is not None

    def __str__(self) -> str:
        return f"/{self.form}/"


@dataclass(frozen=True)
class OneOf(Pattern):
    """What any of these allows."""

    choices: tuple[Pattern, ...]

    def allows(self, value: Any) -> bool:
        return any(choice.allows(value) for choice in self.choices)

    def __str__(self) -> str:
        return " | ".join(str(choice) for choice in self.choices) or "nothing"


@dataclass(frozen=True)
class Row(Pattern):
    """A list with a pattern for each place."""

    places: tuple[Pattern, ...]

    def allows(self, value: Any) -> bool:
        return _is_list(value, len(self.places)) and all(
            self.places[at].allows(value[at]) for at in range(len(self.places))
        )

    def __str__(self) -> str:
        return f"[{', '.join(f'({place})' for place in self.places)}]"


@dataclass(frozen=True)
class Some(Pattern):
    """A list of numbered entries [index, what], each index at most once.

    Args:
        entries: what stands under each index.
        least: how many there are at least.
        sorted: whether they stand in order; in any order otherwise.
    """

    entries: tuple[Pattern, ...]
    least: int
    sorted: bool

    def allows(self, value: Any) -> bool:
        if not isinstance(value, list) or not self.least <= len(cast("list[Any]", value)):
            return False
        rows = cast("list[Any]", value)
        if not all(_is_list(row, 2) and row[0] in range(len(self.entries)) for row in rows):
            return False
        indices: list[int] = [row[0] for row in rows]
        return (
            len(set(indices)) == len(indices)
            and (not self.sorted or indices == sorted(indices))
            and all(self.entries[at].allows(row[1]) for at, row in zip(indices, rows, strict=True))
        )

    def __str__(self) -> str:
        rows = ", ".join(f"{index}: ({what})" for index, what in enumerate(self.entries))
        return f"{self.least} or more of {{{rows}}}{'' if self.sorted else ' in any order'}"


@dataclass(frozen=True)
class Heard(Pattern):
    """What waits for signals answered: payloads in order from the first, some waits too late."""

    payloads: tuple[str, ...]
    never_late: bool

    def allows(self, value: Any) -> bool:
        if not _is_list(value, len(self.payloads)):
            return False
        heard = [each for each in value if each != "late"]
        if self.never_late and len(heard) < len(value):
            return False
        return heard == list(self.payloads[: len(heard)])

    def __str__(self) -> str:
        return f"{list(self.payloads)} in order{'' if self.never_late else ', some late'}"


@dataclass(frozen=True)
class Failure(Pattern):
    """An exception, described: its type, its text and, where it has them, attempts.

    A worker that died took an attempt with it, so there may be more of them.
    """

    kind: str
    text: str
    attempts: int | None = None
    # The text is a regular expression.
    form: bool = False

    def allows(self, value: Any) -> bool:
        if not _is_list(value, 2 if self.attempts is None else 3) or value[0] != self.kind:
            return False
        if not re.fullmatch(self.text if self.form else re.escape(self.text), value[1]):
            return False
        return self.attempts is None or value[2] >= self.attempts

    def told(self, kind: str) -> Failure:
        """What somebody else's error of this kind says of it."""
        name = re.escape(self.kind) if self.form else self.kind
        return Failure(kind, f"{name}: {self.text}" if self.text else name, form=self.form)

    def __str__(self) -> str:
        often = "" if self.attempts is None else f" after {self.attempts} attempts or more"
        return f"{self.kind}: {self.text}{often}"


@dataclass(frozen=True)
class Group(Pattern):
    """An exception group, described, of some of these errors."""

    errors: tuple[Pattern, ...]

    def allows(self, value: Any) -> bool:
        return (
            _is_list(value, 2)
            and value[0] == "ExceptionGroup"
            and bool(value[1])
            and all(any(error.allows(each) for error in self.errors) for each in value[1])
        )

    def told(self, kind: str) -> Failure:
        """What somebody else's error of this kind says of it."""
        return Failure(kind, _SEVERAL, form=True)

    def __str__(self) -> str:
        return f"ExceptionGroup of ({OneOf(self.errors)})"


def row(*places: Any) -> Row:
    """Answer the pattern of a list; what is no pattern stands for itself."""
    return Row(tuple(each if isinstance(each, Pattern) else Just(each) for each in places))


def distinct(patterns: Iterable[Pattern]) -> tuple[Pattern, ...]:
    """Answer the patterns, each once."""
    return tuple({repr(pattern): pattern for pattern in patterns}.values())


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(cast("Sequence[Any]", value)) == length
