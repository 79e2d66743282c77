"""The shop behind the demo: its orders, its database, and its worker processes."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO

from flows import LARGE, Approval, Order

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
DIRECTORY = ROOT / "build" / "orders"
IN_NODE = ROOT / "examples" / "node" / "orders"
NODE_COMMANDS = ROOT / "adapters" / "node" / "dist" / "_cli.js"
SLOTS = 12
SILENCE = "2s"  # after which a worker counts as dead; 10 s by default, but who likes to wait
PRIORITIES = {"express": 8, "standard": 5, "whenever": 2}


class CommandFailed(Exception):
    """A command ended with another status than 0."""


@dataclass(frozen=True)
class Row:
    """A line of orders.csv."""

    order: Order
    urgency: str

    @property
    def expected(self) -> str:
        """How the order is to end."""
        if not decide(self.order).granted:
            return "rejected"
        return "declined" if self.order.card.endswith(("0002", "0069")) else "shipped"


def orders() -> list[Row]:
    """Reads the orders that came in."""
    with (HERE / "orders.csv").open(encoding="utf-8", newline="") as file:
        return [
            Row(
                Order(
                    number=line["number"],
                    customer=line["customer"],
                    item=line["item"],
                    quantity=int(line["quantity"]),
                    amount=Decimal(line["amount"]),
                    currency=line["currency"],
                    card=line["card"],
                ),
                line["urgency"],
            )
            for line in csv.DictReader(file)
        ]


def decide(order: Order) -> Approval:
    """What somebody says who is asked: large is fine, five times large is not."""
    if not order.is_large:
        return Approval(True, "nobody")
    return Approval(order.amount < 5 * LARGE[order.currency], "Maren")


@dataclass(frozen=True)
class Place:
    """Where a run of the demo keeps what is its own."""

    directory: Path
    url: str
    schema: str
    is_embedded: bool

    @classmethod
    def choose(cls) -> Place:
        """Takes the database that the environment names, or one that nobody else uses."""
        url = os.environ.get("WORKFLOWS_DATABASE_URL", "").strip()
        if url:
            return cls(DIRECTORY, url, "orders_demo", False)
        return cls(DIRECTORY, f"embedded:{DIRECTORY / 'postgres'}", "workflows", True)

    def prepare(self) -> None:
        """Forgets the last run."""
        self.books.mkdir(parents=True, exist_ok=True)
        for leftover in self.books.iterdir():
            leftover.unlink()
        if self.cluster.exists() or not self.is_embedded:
            self.command("migrate", "down", "--confirm", self.schema)

    @property
    def cluster(self) -> Path:
        """The directory of the database, where it is the demo's own."""
        return self.directory / "postgres"

    @property
    def books(self) -> Path:
        """The directory of the books of the outside world."""
        return self.directory / "books"

    @property
    def environment(self) -> dict[str, str]:
        """What workers and commands need to know."""
        return {
            **os.environ,
            "WORKFLOWS_DATABASE_URL": self.url,
            "WORKFLOWS_SCHEMA": self.schema,
            "WORKFLOWS_WORKER_HEARTBEAT_TIMEOUT": SILENCE,
            "ORDERS_BOOKS": str(self.books),
        }

    def command(self, *arguments: str) -> None:
        """Runs a command of the command line."""
        program = [sys.executable, "-m", "workflows"]
        done = subprocess.run(
            [*program, *arguments], env=self.environment, stdout=subprocess.DEVNULL
        )
        if done.returncode:
            raise CommandFailed(f"`workflows {' '.join(arguments)}` has failed, as it says above")

    def spelt(self, *arguments: str) -> str:
        """Answers the same command as one would type it."""
        program = os.path.relpath(Path(sys.executable).parent / "workflows")
        url = f" --database-url embedded:{os.path.relpath(self.cluster)}"
        options = url if self.is_embedded else f" --schema {self.schema}"
        return " ".join([program + options, *arguments])


# The command line of each language, and where its flows are.
COMMAND_LINES: Mapping[str, tuple[Path, list[str | Path]]] = {
    "Python": (HERE, [sys.executable, "-m", "workflows", "worker", "-m", "flows"]),
    "Node": (
        IN_NODE,
        ["node", "--import", "tsx", NODE_COMMANDS, "worker", "-m", "./flows.ts"],
    ),
}


class WorkerProcess:
    """A worker as one starts it by hand, in a process of its own."""

    def __init__(self, place: Place, language: str, number: int) -> None:
        self.name = f"{language} worker {number}"
        self.log_path = place.directory / f"{language.lower()}-worker-{number}.log"
        self._log: IO[bytes] = self.log_path.open("wb")
        directory, command = COMMAND_LINES[language]
        self._process = subprocess.Popen(
            [*command, "-q", "orders", "--concurrency", str(SLOTS)],
            cwd=directory,
            env=place.environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is the demo's, which then ends its workers
        )
        self.pid = self._process.pid
        self.was_killed = False

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Ends it as a power cut would: nothing in it gets to know."""
        self.was_killed = True
        self._process.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """Asks it to finish what it holds."""
        self._process.terminate()

    def wait(self) -> None:
        """Waits for its end, but not for long."""
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def stop_all(workers: Sequence[WorkerProcess]) -> None:
    """Ends the workers, by their process ids."""
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.wait()
