"""What the demo shows: a line for what happens, a bar for how far it is, tables at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

_PLAIN_EVERY = 50  # orders, where there is no terminal to draw a bar on


class Screen:
    """A terminal, or plain lines where there is none.

    Args:
        total: how many orders there are.
    """

    def __init__(self, total: int) -> None:
        self._console = Console(highlight=False)
        self._began = time.monotonic()
        self._total = total
        self._progress = Progress(
            TextColumn("  [bold]orders"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._bar = self._progress.add_task("orders", total=total, visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def title(self, text: str) -> None:
        """Says what this is about."""
        self._console.print(f"\n[bold]{text}[/]\n")

    def say(self, text: str, style: str = "") -> None:
        """Says what happens, and when."""
        seconds = time.monotonic() - self._began
        line = f"[dim]{seconds:5.1f} s[/]  [{style or 'default'}]{text}[/]"
        self._console.print(line, soft_wrap=True)

    def show(self, done: int) -> None:
        """Shows how many orders are done."""
        self._progress.update(self._bar, completed=done, visible=done < self._total)
        if not self._console.is_terminal and done % _PLAIN_EVERY == 0:
            self.say(f"{done} of {self._total} orders are done")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Prints a table; what is a number goes to the right."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=True)
        for column, head in enumerate(heads):
            numeric = bool(rows) and isinstance(rows[0][column], int | float)
            table.add_column(head, justify="right" if numeric else "left")
        for row in rows:
            table.add_row(*(_text(cell) for cell in row))
        self._console.print(table)

    def check(self, holds: bool, promise: str, detail: str = "") -> None:
        """Prints a promise, and whether it was kept."""
        mark = "[green]yes[/]" if holds else "[bold red]NO [/]"
        self.text(f"  {mark}  {promise}{detail and f': {detail}'}")

    def fact(self, name: str, value: str) -> None:
        """Prints a name and what there is to say about it."""
        self.text(f"  [bold]{name:<10}[/]{value}")

    def command(self, line: str) -> None:
        """Prints a command to type."""
        self.text(f"    [cyan]{line}[/]")

    def text(self, text: str = "") -> None:
        """Prints a paragraph as it is."""
        self._console.print(text, soft_wrap=True)


def _text(cell: object) -> str:
    return f"{cell:,.1f}" if isinstance(cell, float) else str(cell)
