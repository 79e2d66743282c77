"""The audit: what the database recorded, against what the outside world noted in its books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import outside
from outside import Entry
from shop import Row
from workflows import Client


@dataclass
class Fate:
    """What became of one order, by the database."""

    row: Row
    id: str
    state: str
    events: int = 0
    records: Counter[str] = field(default_factory=Counter[str])
    payment: str | None = None


@dataclass(frozen=True)
class Check:
    """A promise, and whether it was kept."""

    promise: str
    offenders: Sequence[str]

    @property
    def holds(self) -> bool:
        return not self.offenders


@dataclass(frozen=True)
class Effect:
    """How often something was asked of the outside world, and how often it was done."""

    name: str
    records: int
    asked: int
    done: int

    @property
    def repeats(self) -> int:
        return self.asked - self.done


async def fate(client: Client, row: Row, id: str) -> Fate:
    """Reads what became of an order from its execution and its history."""
    execution = await client.get(id)
    result: Any = execution.get("result") or {}
    found = Fate(row, id, result.get("state", execution["status"]))
    for event in await client.history(id):
        found.events += 1
        if event["type"] in ("activity_completed", "step_completed"):
            name = event.get("name", "")
            found.records[name] += 1
            if name == "charge":
                found.payment = str(event.get("payload"))
    return found


def effects(fates: Sequence[Fate]) -> list[Effect]:
    """Counts records, requests and deeds."""
    return [
        Effect(
            name,
            sum(fate.records[name] for fate in fates),
            len(entries := [entry for entry in book.entries() if entry["what"] == what]),
            sum(entry["first"] for entry in entries),
        )
        for name, book, what in (
            ("reserve", outside.warehouse, "put aside"),
            ("charge", outside.bank, "payment"),
            ("release", outside.warehouse, "put back"),
            ("receipt", outside.post, "letter"),
        )
    ]


def charged_again() -> list[Entry]:
    """Answers the requests for payment that the bank knew already."""
    entries = outside.bank.entries()
    return [entry for entry in entries if entry["what"] == "payment" and not entry["first"]]


def turned_away() -> int:
    """Answers how many payments found the bank busy at first."""
    return len(_done(outside.bank.entries(), "turned away"))


def checks(fates: Sequence[Fate]) -> list[Check]:
    """Holds every promise against every order."""
    paid = _done(outside.bank.entries(), "payment")
    aside = _done(outside.warehouse.entries(), "put aside")
    back = _done(outside.warehouse.entries(), "put back")
    letters = _done(outside.post.entries(), "letter")

    def check(promise: str, holds: Mapping[str, bool]) -> Check:
        return Check(promise, [number for number, held in holds.items() if not held])

    by_number = {fate.row.order.number: fate for fate in fates}
    shipped = {number: fate.state == "shipped" for number, fate in by_number.items()}
    return [
        check(
            "every order came to its end, and to the right one",
            {n: fate.state == fate.row.expected for n, fate in by_number.items()},
        ),
        check(
            "what has to happen for it was recorded, each thing once",
            {n: fate.records == _wanted(fate.state) for n, fate in by_number.items()},
        ),
        check(
            "every card was charged once, the right sum, and only for what was shipped",
            {
                n: paid.get(n) == ([_sum(fate)] if shipped[n] else None)
                for n, fate in by_number.items()
            },
        ),
        check(
            "each payment is in the history under the number that the bank gave it",
            {
                n: fate.payment == (outside.payment_number(n) if shipped[n] else None)
                for n, fate in by_number.items()
            },
        ),
        check(
            "goods left the shelf once for what was shipped, and went back for the rest",
            {
                n: len(aside.get(n, ())) == 1 and len(back.get(n, ())) == (not shipped[n])
                for n in by_number
            },
        ),
        check(
            "one receipt was sent for each order that was shipped",
            {n: len(letters.get(n, ())) == shipped[n] for n in by_number},
        ),
    ]


def _wanted(state: str) -> Counter[str]:
    if state == "shipped":
        return Counter(["reserve", "charge", "receipt"])
    return Counter(["reserve", "release"])


def _sum(fate: Fate) -> str:
    return f"{fate.row.order.amount} {fate.row.order.currency}"


def _done(entries: Sequence[Entry], what: str) -> dict[str, list[str]]:
    """Answers what a book says was done, by the number of the order."""
    done: dict[str, list[str]] = {}
    for entry in entries:
        if entry["what"] == what and entry["first"]:
            done.setdefault(entry["key"], []).append(entry["detail"])
    return done
