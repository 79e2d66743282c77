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
        self._held: OrderedDict[str, tuple[Replay, str]] = OrderedDict()

    def put(self, replay: Replay, token: str) -> None:
        """Keeps a workflow that was suspended under the lease with this token."""
        if self._size == 0:
            replay.discard()
            return
        # The answer to a suspend can be overtaken by the next claim, which then replayed anew.
        before = self._held.pop(replay.claimed["id"], None)
        if before is not None:
            before[0].discard()
        self._held[replay.claimed["id"]] = (replay, token)
        while len(self._held) > self._size:
            self._held.popitem(last=False)[1][0].discard()

    def take(self, claimed: Mapping[str, Any]) -> Replay | None:
        """Answers the workflow, if nobody has held it since it was put here."""
        found = self._held.pop(claimed["id"], None)
        if found is None:
            return None
        replay, token = found
        # The token of the lease before is this one's: nobody has held it since, and no
        # failover has taken back what this process knows.
        if (
            replay.claimed["run"] == claimed["run"]
            and claimed.get("previous_token") == token
            and claimed.get("after", 0) <= replay.position <= claimed["position"]
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
