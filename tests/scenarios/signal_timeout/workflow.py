from typing import Any

from workflows import SignalTimeout, now, wait_for_signal, workflow


@workflow(name="signal_timeout")
async def signal_timeout() -> list[Any]:
    began = now()
    try:
        await wait_for_signal("word", timeout=0.2)
    except SignalTimeout as error:
        return [str(error), (now() - began).total_seconds() >= 0.2]
    return []
