from typing import Any

from workflows import wait_for_signal, workflow


@workflow(name="unsafe_integer")
async def unsafe_integer() -> list[Any]:
    odd = await wait_for_signal("number")
    return [str(odd["n"][1]), await wait_for_signal("number")]
