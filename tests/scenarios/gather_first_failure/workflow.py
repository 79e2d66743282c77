from scenario import gate, other
from workflows import ActivityError, activity, gather, wait_for_signal, workflow


class NoSuchCity(Exception):
    pass


@activity(name="gather_first_failure.book", retries=0)
async def book(city: str) -> str:
    await gate(city)
    raise NoSuchCity(city)


@workflow(name="gather_first_failure")
async def gather_first_failure() -> list[str]:
    try:
        await gather(other(book).run("Rome"), other(book).run("Oslo"))
    except ActivityError as error:
        return [error.type, error.message, await wait_for_signal("word", str)]
    return []
