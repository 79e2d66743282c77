from scenario import other
from workflows import (
    ChildCancelled,
    ChildError,
    ChildFailed,
    ChildTimeout,
    sleep,
    workflow,
)


class NotThere(Exception):
    pass


@workflow(name="child_ends_told_apart.fails")
async def fails() -> None:
    raise NotThere("nobody at home")


@workflow(name="child_ends_told_apart.sleeps")
async def sleeps() -> None:
    await sleep("1h")


@workflow(name="child_ends_told_apart")
async def child_ends_told_apart() -> list[list[str]]:
    told: list[list[str]] = []
    for child in (other(fails), other(sleeps).options(timeout=1), other(sleeps)):
        try:
            await child.run()
        except ChildFailed as error:
            told.append(["failed", error.type, error.message])
        except ChildTimeout as error:
            told.append(["timed out", error.type])
        except ChildCancelled as error:
            told.append(["cancelled", error.type, error.message])
        except ChildError:
            told.append(["otherwise"])
    return told
