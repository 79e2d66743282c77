from typing import Any

from workflows import race, sleep, wait_for_signal, workflow


@workflow(name="wait_given_up")
async def wait_given_up() -> list[Any]:
    name, _ = await race(item=wait_for_signal("item"), go=wait_for_signal("go"))
    await sleep(0)
    return [name, await wait_for_signal("item")]
