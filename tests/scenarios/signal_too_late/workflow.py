from workflows import SignalTimeout, wait_for_signal, workflow


@workflow(name="signal_too_late")
async def signal_too_late() -> list[str]:
    told: list[str] = []
    try:
        told.append(await wait_for_signal("word", str, timeout=0.1))
    except SignalTimeout:
        told.append("too late")
    await wait_for_signal("go on")
    told.append(await wait_for_signal("word", str))
    return told
