from workflows import set_state, wait_for_signal, workflow


@workflow(name="state")
async def state() -> None:
    set_state({"step": "waiting"})
    await wait_for_signal("go on")
    set_state({"step": "going"})
    set_state({"step": "done", "of": [1, None, "\u00e4"]})
