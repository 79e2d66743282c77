from workflows import sleep, timeout, workflow


@workflow(name="timeout_within_timeout")
async def timeout_within_timeout() -> list[str]:
    told: list[str] = []
    async with timeout("1h"):
        try:
            async with timeout(0.1):
                await sleep("2h")
        except TimeoutError:
            told.append("inner")
        await sleep(0)
        told.append("outer goes on")
    return told
