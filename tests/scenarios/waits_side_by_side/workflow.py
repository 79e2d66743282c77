from workflows import gather, wait_for_signal, workflow


@workflow(name="waits_side_by_side")
async def waits_side_by_side() -> list[str]:
    first = wait_for_signal("item", str)
    second = wait_for_signal("item", str)
    other = wait_for_signal("other", str)
    return list(await gather(other, second, first))
