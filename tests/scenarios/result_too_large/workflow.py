from workflows import sleep, workflow


@workflow(name="result_too_large")
async def result_too_large() -> str:
    await sleep(0)
    return "a" * 2_000_000
