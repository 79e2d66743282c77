"""Tables and numbers as the page has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(name: str, value: Any) -> str:
    """Write a figure: counts by kind as their sum, and one that is not there as nothing."""
    if isinstance(value, Mapping):
        return f"{sum(cast('Mapping[str, int]', value).values()):,}"
    if value is None:
        return ""
    return number(name, value)


def number(name: str, value: float) -> str:
    """Write a figure with as many digits as it is worth."""
    if isinstance(value, int) or name.endswith("_ms"):
        return f"{value:,.0f}"
    return f"{value:.1f}"
