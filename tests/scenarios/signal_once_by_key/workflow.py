from typing import Any

from workflows import wait_for_signal, workflow


@workflow(name="signal_once_by_key")
async def signal_once_by_key() -> list[Any]:
    return [await wait_for_signal("item"), await wait_for_signal("item")]
