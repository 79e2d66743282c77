"""What the next run of a workflow keeps of the one that failed."""

from __future__ import annotations

from ._rows import Json

_FAILED = {"activity_failed", "child_failed", "step_failed"}
_BAD = _FAILED | {"activity_cancelled", "child_cancelled"}
_GONE = {"activity_cancelled", "child_cancelled", "timer_cancelled"}
_BEGUN = {"activity_scheduled", "child_started", "timer_started"}


def kept(events: list[Json], voided: int | None) -> list[Json]:
    """Answers the events that the next run begins with, in order.

    Of what was asked for before it went wrong only what had an outcome is kept, and no failure
    that came later; what was asked for later belongs to the cleaning up.
    """
    wrong = _wrong(events, voided)
    last = max((e.get("sequence", 0) for e in events[:wrong]), default=0)
    gone = [event for event in events if event["type"] in _GONE]
    gone += [event for event in events[wrong:] if event["type"] in _FAILED]
    settled = {
        event["sequence"]
        for event in events
        if event.get("sequence", last + 1) <= last
        and event.get("sequence") != voided
        and event["type"] not in _BEGUN
    } - {event.get("sequence") for event in gone}
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
