from workflows import wait_for_signal, workflow


@workflow(name="signal_in_time")
async def signal_in_time() -> str:
    return await wait_for_signal("word", str, timeout="1h")
