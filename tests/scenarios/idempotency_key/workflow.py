from workflows import wait_for_signal, workflow


@workflow(name="idempotency_key")
async def idempotency_key(order: str) -> str:
    await wait_for_signal("go on")
    return order
