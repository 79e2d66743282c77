import asyncio

from scenario import gate, note, other
from workflows import activity, shield, workflow


@activity(name="cancel_shielded_work.refund")
async def refund() -> str:
    note("refunding")
    await gate("bank")
    note("refunded")
    return "refunded"


@workflow(name="cancel_shielded_work")
async def cancel_shielded_work() -> str:
    refunding = other(refund).run()
    try:
        await shield(refunding)
    except asyncio.CancelledError:
        await refunding
        raise
    return "never"
