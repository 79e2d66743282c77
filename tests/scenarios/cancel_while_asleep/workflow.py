from workflows import sleep, workflow


@workflow(name="cancel_while_asleep")
async def cancel_while_asleep() -> None:
    await sleep("1h")
