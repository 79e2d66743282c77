from typing import Any

from workflows import wait_for_signal, workflow


@workflow(name="start_with_signal")
async def start_with_signal() -> list[Any]:
    return [await wait_for_signal("add") for _ in range(3)]
