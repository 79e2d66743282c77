"""What the next run of a workflow keeps of the one that failed."""

from __future__ import annotations

from ._rows import Json

_BAD = {"activity_failed", "child_failed", "step_failed", "activity_cancelled", "child_cancelled"}
_GONE = {"activity_cancelled", "child_cancelled", "timer_cancelled"}
_BEGUN = {"activity_scheduled", "child_started", "timer_started"}


def kept(events: list[Json], voided: int | None) -> list[Json]:
    """Answers the events that the next run begins with, in order.

    Of what was asked for before it went wrong only what had an outcome is kept; what was
    asked for later belongs to the cleaning up.
    """
    last = max((e.get("sequence", 0) for e in events[: _wrong(events, voided)]), default=0)
    settled = {
        event["sequence"]
        for event in events
        if event.get("sequence", last + 1) <= last
        and event.get("sequence") != voided
        and event["type"] not in _BEGUN
    } - {event.get("sequence") for event in events if event["type"] in _GONE}
    return [
        event
        for event in events
        if event["type"] != "cancel_requested"
        and (event.get("sequence") is None or event["sequence"] in settled)
    ]


def _wrong(events: list[Json], voided: int | None) -> int:
    """Answers where it went wrong: the request to stop, or the failure that nobody caught."""
    for n, event in enumerate(events):
        if event["type"] == "cancel_requested":
            return n
        if voided is not None and event.get("sequence") == voided and event["type"] in _BAD:
            return n
    return len(events)
