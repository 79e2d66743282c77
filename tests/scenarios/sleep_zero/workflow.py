from workflows import now, sleep, workflow


@workflow(name="sleep_zero")
async def sleep_zero() -> bool:
    began = now()
    await sleep(0)
    await sleep(-1)
    return now() >= began
