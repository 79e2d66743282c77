import asyncio

from scenario import note, other
from workflows import activity, sleep, workflow


@activity(name="cancel_and_compensate.book")
async def book(what: str) -> str:
    note(f"booked {what}")
    return what


@activity(name="cancel_and_compensate.undo")
async def undo(what: str) -> None:
    note(f"undid {what}")


@workflow(name="cancel_and_compensate")
async def cancel_and_compensate() -> str:
    booked: list[str] = []
    try:
        for what in ("flight", "hotel"):
            booked.append(await other(book).run(what))
        await sleep("1h")
    except asyncio.CancelledError:
        for what in reversed(booked):
            await other(undo).run(what)
        raise
    return "travelled"
