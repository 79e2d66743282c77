from collections.abc import Callable, Coroutine
from typing import Any

from scenario import note, other
from workflows import ActivityError, activity, workflow


class NoSeats(Exception):
    pass


@activity(name="saga.book", retries=0)
async def book(what: str) -> str:
    if what == "concert":
        raise NoSeats(what)
    note(f"booked {what}")
    return what


@activity(name="saga.undo")
async def undo(what: str) -> None:
    note(f"undid {what}")


@workflow(name="saga")
async def saga() -> str:
    undoing: list[Callable[[], Coroutine[Any, Any, None]]] = []
    try:
        for what in ("flight", "hotel", "concert"):
            booked = await other(book).run(what)
            undoing.append(lambda booked=booked: other(undo).run(booked))
    except ActivityError as error:
        for each in reversed(undoing):
            await each()
        return f"stayed at home: {error.message}"
    return "travelled"
