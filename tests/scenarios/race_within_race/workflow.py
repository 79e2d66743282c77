from typing import Any

from workflows import race, sleep, wait_for_signal, workflow


@workflow(name="race_within_race")
async def race_within_race() -> list[Any]:
    inner = race(word=wait_for_signal("word", str, timeout="2h"), day=sleep("1h"))
    return list(await race(inner=inner, stop=wait_for_signal("stop", str)))
