"""What the demo says at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import shop
import verdict
from disaster import Recovery
from screen import Screen
from shop import Place
from verdict import Fate


@dataclass(frozen=True)
class Report:
    """What came of a run: every order's fate, how long it took, and the recovery."""

    screen: Screen
    fates: Sequence[Fate]
    seconds: float
    recoveries: Sequence[Recovery]

    def show(self, place: Place) -> bool:
        """Prints all of it, and answers whether every promise was kept."""
        self._counts()
        self._recovery()
        checks = verdict.checks(self.fates)
        for check in checks:
            self.screen.check(check.holds, check.promise, ", ".join(check.offenders[:5]))
        self._next(place)
        return all(check.holds for check in checks)

    def _counts(self) -> None:
        """How the orders ended, what was done for them, and how fast."""
        states = Counter(fate.state for fate in self.fates)
        self.screen.table(["orders", ""], [[*each] for each in states.most_common()])
        self.screen.table(
            ["what", "recorded", "asked for", "repeats, ignored", "done"],
            [
                [each.name, each.records, each.asked, each.repeats, each.done]
                for each in verdict.effects(self.fates)
            ],
        )
        speed = len(self.fates) / self.seconds
        events = sum(fate.events for fate in self.fates)
        self.screen.fact(
            "speed", f"{speed:.0f} orders a second for {self.seconds:.0f} s, {events:,} events"
        )
        self.screen.fact(
            "retries", f"{verdict.turned_away()} payments found the bank busy at first"
        )

    def _recovery(self) -> None:
        """What ran twice, and why nobody has paid twice."""
        for recovery in self.recoveries:
            self.screen.fact(
                "recovery",
                f"{recovery.noticed:.1f} s until {recovery.who} was noticed, "
                f"{recovery.resumed:.1f} s until all was in other hands",
            )
            self.screen.fact(
                "",
                f"activities run again: {recovery.activities}; "
                f"workflows gone on from their histories: {recovery.workflows}",
            )
        self.screen.fact(
            "", f"(a worker may be silent for {shop.SILENCE} here, by default for 10s)"
        )
        again = len(verdict.charged_again())
        self.screen.text(
            f"""
  {again} payments were asked for twice: a worker died when the bank had taken the
  money and nobody had written that down. The second request had the idempotency
  key of the first, so the bank took nothing more. Bodies run at least once, and
  their results are recorded exactly once; a key makes one deed of that.
"""
        )

    def _next(self, place: Place) -> None:
        """What to type next."""
        again = {entry["key"]: entry["execution"] for entry in verdict.charged_again()}
        self.screen.text("\n  It is all still there: the orders, and one that was charged again.\n")
        self.screen.command(place.spelt("list", "--kind", "workflow", "--limit", "10"))
        for fate in self.fates:
            if fate.row.order.number in again:
                self.screen.command(place.spelt("history", fate.id))
                self.screen.command(place.spelt("status", again[fate.row.order.number]))
                break
        self.screen.text()
