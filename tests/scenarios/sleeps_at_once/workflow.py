from workflows import gather, now, sleep, workflow


@workflow(name="sleeps_at_once")
async def sleeps_at_once() -> bool:
    began = now()
    await gather(sleep(0.6), sleep(0.2), sleep(0.4))
    return 0.6 <= (now() - began).total_seconds() < 1.2
