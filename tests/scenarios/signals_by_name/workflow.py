from workflows import wait_for_signal, workflow


@workflow(name="signals_by_name")
async def signals_by_name() -> list[str]:
    b = await wait_for_signal("b", str)
    a = await wait_for_signal("a", str)
    return [b, a]
