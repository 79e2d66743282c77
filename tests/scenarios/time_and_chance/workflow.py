from typing import Any

from workflows import now, random, sleep, uuid4, wait_for_signal, workflow


@workflow(name="time_and_chance")
async def time_and_chance() -> dict[str, Any]:
    first, chance, began = uuid4(), random(), now()
    await sleep(0.05)
    told = [
        await wait_for_signal("word", str),
        first != uuid4(),
        str(first)[14] == "4",
        0 <= chance < 1,
        chance != random(),
        now() > began,
    ]
    by_chance = [str(first), str(uuid4()), chance, random(), now().isoformat()[:23]]
    return {"told": told, "by chance": by_chance}
