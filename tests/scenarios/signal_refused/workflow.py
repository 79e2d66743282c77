from scenario import other
from workflows import StepError, send_signal, workflow


@workflow(name="signal_refused.short")
async def short() -> None: ...


@workflow(name="signal_refused")
async def signal_refused() -> list[str]:
    handle = await other(short).queue()
    await handle.result()
    told: list[str] = []
    for id in (handle.id, "01990000-0000-7000-8000-000000000000"):
        try:
            await send_signal(id, "word", "hello")
        except StepError as error:
            told.append(error.type)
    return told
