"""The world outside the database: a bank, a warehouse and a post office, all of them pretended.

Like real ones they are slow, now and then busy, and keep their own books: a
file each, to which a line is only ever appended, by whatever process in whatever
language. A request comes with an idempotency key. The first line with a key does
something; a repeat is noted too, and answered as the first one was.
"""

import asyncio
import json
import os
import time
import uuid
import zlib
from decimal import Decimal
from pathlib import Path
from typing import TypedDict

from workflows import attempt_info


class Declined(Exception):
    """The card will not pay, however often one asks."""


class BankBusy(Exception):
    """The bank asks to come back later."""


class Entry(TypedDict):
    """A line in a book: who asked for what, and whether it made a difference."""

    line: str
    what: str
    key: str
    detail: str
    first: bool
    execution: str
    attempt: int
    pid: int


class Book:
    """What one of them knows, whatever becomes of the processes that ask it."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def path(self) -> Path:
        """The file of the book."""
        return Path(os.environ.get("ORDERS_BOOKS", "."), f"{self._name}.jsonl")

    def note(self, what: str, key: str, detail: str = "") -> bool:
        """Notes a request, and says whether it is the first with this key."""
        info = attempt_info()
        line = {
            "line": uuid.uuid4().hex,
            "what": what,
            "key": key,
            "detail": detail,
            "execution": info.id,
            "attempt": info.attempt,
            "pid": os.getpid(),
        }
        with self.path.open("ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")  # in one piece, whoever else writes
        return next(each["first"] for each in self.entries() if each["line"] == line["line"])

    def entries(self) -> list[Entry]:
        """Answers all that was noted."""
        if not self.path.exists():
            return []
        known, entries = set[tuple[str, str]](), list[Entry]()
        for line in map(json.loads, self.path.read_text("utf-8").splitlines()):
            once = (line["what"], line["key"])
            entries.append(Entry(**line, first=once not in known))
            known.add(once)
        return entries


bank, warehouse, post = Book("bank"), Book("warehouse"), Book("post")


async def take(card: str, amount: Decimal, currency: str, *, key: str) -> str:
    """Takes money from a card, once per key, and answers the number of the payment.

    Cards that end in 0002 and 0069 are declined; 0119 finds the bank busy at first.
    """
    await asyncio.sleep(_seconds(key, "queue at the bank", 0.1, 0.3))
    if card.endswith(("0002", "0069")):
        reason = "no funds" if card.endswith("0002") else "expired"
        raise Declined(f"{card} is declined: {reason}")
    if card.endswith("0119") and bank.note("turned away", key):
        raise BankBusy("come back later")
    bank.note("payment", key, f"{amount} {currency}")
    # The money has gone. Whoever dies now will not know.
    await asyncio.sleep(_seconds(key, "bank's answer", 0.1, 0.4))
    return payment_number(key)


def payment_number(key: str) -> str:
    """Answers the number that the bank gives to the payment with this key."""
    return f"pay-{zlib.crc32(key.encode()):08x}"


def put_aside(item: str, quantity: int, *, key: str) -> str:
    """Puts goods aside, once per key, and answers the shelf."""
    time.sleep(_seconds(key, "ladder", 0.05, 0.3))
    warehouse.note("put aside", key, f"{quantity} x {item}")
    return f"shelf {zlib.crc32(item.encode()) % 40 + 1}"


def put_back(*, key: str) -> None:
    """Puts back what was put aside with this key."""
    time.sleep(_seconds(key, "ladder", 0.05, 0.3))
    warehouse.note("put back", key)


def send(to: str, text: str, *, key: str) -> None:
    """Sends a letter, once per key."""
    time.sleep(_seconds(key, "stamp", 0.02, 0.08))
    post.note("letter", key, f"{to}: {text}")


def _seconds(key: str, what: str, least: float, most: float) -> float:
    """Answers how long something takes: by chance, but the same chance in each run."""
    return least + (most - least) * (zlib.crc32(f"{what} {key}".encode()) % 1000) / 1000
