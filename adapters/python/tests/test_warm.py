from __future__ import annotations

from typing import Any, cast

import pytest
from workflows._replay import Replay
from workflows._warm import Warm


class Suspended:
    """What a cache sees of a workflow."""

    def __init__(self, id: str, position: int = 3) -> None:
        self.claimed: dict[str, Any] = {"id": id, "run": 1}
        self.position = position
        self.is_discarded = False

    def discard(self) -> None:
        self.is_discarded = True


def put(warm: Warm, replay: Suspended, token: str) -> None:
    warm.put(cast(Replay, replay), token)


def claim(id: str, previous_token: str) -> dict[str, Any]:
    return {"id": id, "run": 1, "position": 4, "after": 3, "previous_token": previous_token}


def test_a_workflow_is_found_by_the_token_that_it_suspended_with() -> None:
    warm, replay = Warm(2), Suspended("a")
    put(warm, replay, "token")
    claimed = claim("a", "token")
    assert warm.take(claimed) is cast(Replay, replay)
    assert replay.claimed is claimed
    assert warm.take(claimed) is None


@pytest.mark.parametrize(
    "changed", [{"previous_token": "another's"}, {"run": 2}, {"after": 4}, {"position": 2}]
)
def test_one_that_somebody_else_has_held_since_is_discarded(changed: dict[str, Any]) -> None:
    warm, replay = Warm(2), Suspended("a")
    put(warm, replay, "token")
    assert warm.take({**claim("a", "token"), **changed}) is None
    assert replay.is_discarded


def test_one_that_is_replaced_is_discarded_and_not_left_to_the_collector() -> None:
    """R10: the collector would run its finally blocks."""
    warm, before, after = Warm(2), Suspended("a"), Suspended("a")
    put(warm, before, "first")
    put(warm, after, "second")
    assert before.is_discarded
    assert not after.is_discarded
    assert len(warm) == 1
    assert warm.take(claim("a", "second")) is cast(Replay, after)


def test_the_one_used_longest_ago_makes_room() -> None:
    warm = Warm(2)
    replays = [Suspended(id) for id in ("a", "b", "a", "c")]
    for replay in replays:
        put(warm, replay, "token")
    assert [replay.is_discarded for replay in replays] == [True, True, False, False]


def test_nothing_is_kept_where_there_is_no_room_or_after_clear() -> None:
    none, some, replays = Warm(0), Warm(2), [Suspended("a"), Suspended("b")]
    put(none, replays[0], "token")
    put(some, replays[1], "token")
    some.clear()
    assert [replay.is_discarded for replay in replays] == [True, True]
    assert len(none) == len(some) == 0
