from typing import Any

from workflows import wait_for_signal, workflow


@workflow(name="signals_in_order")
async def signals_in_order() -> list[Any]:
    return [await wait_for_signal("item") for _ in range(3)]
