from typing import Any

from scenario import other
from workflows import activity, race, sleep, wait_for_signal, workflow


@activity(name="race_of_functions.remind")
async def remind(n: int) -> int:
    return n


async def reminders() -> str:
    for n in (1, 2):
        await sleep(0.05)
        await other(remind).run(n)
    await sleep("1h")
    return "never"


async def answer() -> str:
    return await wait_for_signal("answer", str)


@workflow(name="race_of_functions")
async def race_of_functions() -> list[Any]:
    return list(await race(answer=answer(), reminders=reminders()))
