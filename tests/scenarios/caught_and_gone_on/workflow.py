from scenario import other
from workflows import ActivityError, activity, workflow


class SoldOut(Exception):
    pass


@activity(name="caught_and_gone_on.book", retries=0)
async def book(hotel: str) -> str:
    if hotel != "Astoria":
        raise SoldOut(hotel)
    return hotel


@workflow(name="caught_and_gone_on")
async def caught_and_gone_on() -> list[str]:
    told: list[str] = []
    for hotel in ("Ritz", "Astoria", "Plaza"):
        try:
            told.append(await other(book).run(hotel))
        except ActivityError as error:
            told.append(f"no room: {error.message}")
    return told
