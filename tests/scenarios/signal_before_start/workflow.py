from workflows import wait_for_signal, workflow


@workflow(name="signal_before_start")
async def signal_before_start() -> str:
    return await wait_for_signal("word", str)
