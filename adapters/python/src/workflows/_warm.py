"""Suspended workflows that stay in memory, so that they need not be replayed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from ._replay import Replay


class Warm:
    """A cache of suspended workflows, bounded by their number; the one used longest ago goes first.

    Args:
        size: how many it holds; with 0 every claim replays from the start.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[str, tuple[Replay, int]] = OrderedDict()

    def put(self, replay: Replay, epoch: int) -> None:
        """Keeps a workflow that was suspended under the lease of this epoch."""
        if self._size == 0:
            replay.discard()
            return
        self._held[replay.claimed["id"]] = (replay, epoch)
        while len(self._held) > self._size:
            self._held.popitem(last=False)[1][0].discard()

    def take(self, claimed: Mapping[str, Any]) -> Replay | None:
        """Answers the workflow, if nobody has held it since it was put here."""
        found = self._held.pop(claimed["id"], None)
        if found is None:
            return None
        replay, epoch = found
        if (
            replay.claimed["run"] == claimed["run"]
            and claimed["lease"]["epoch"] == epoch + 1
            and _continues(replay, claimed)
        ):
            replay.claimed = claimed
            return replay
        replay.discard()
        return None

    def clear(self) -> None:
        """Discards all."""
        while self._held:
            self._held.popitem()[1][0].discard()

    def __len__(self) -> int:
        return len(self._held)


def _continues(replay: Replay, claimed: Mapping[str, Any]) -> bool:
    """An epoch can come twice, if a commit was lost in a failover: then the history differs."""
    events: list[Mapping[str, Any]] = claimed.get("events") or []
    index = replay.position - (events[0]["position"] if events else 0)
    if index == -1 or not events:
        return True  # the claim brings newer events only
    if not 0 <= index < len(events) or replay.last is None:
        return False
    return all(
        events[index].get(field) == replay.last.get(field)
        for field in ("position", "type", "at", "sequence")
    )
