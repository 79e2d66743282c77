from workflows import continue_as_new, set_state, wait_for_signal, workflow


@workflow(name="continue_with_signals")
async def continue_with_signals(items: list[str]) -> list[str]:
    items = [*items, await wait_for_signal("item", str)]
    set_state(items)
    if len(items) == 1:
        await wait_for_signal("go on")
        continue_as_new(items)
    if len(items) == 2:
        continue_as_new(items)
    return [*items, await wait_for_signal("last", str)]
