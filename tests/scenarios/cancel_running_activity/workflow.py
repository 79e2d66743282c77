import asyncio

from scenario import gate, note, other
from workflows import activity, workflow


@activity(name="cancel_running_activity.work")
async def work() -> str:
    note("begun")
    await gate("never")
    return "done"


@workflow(name="cancel_running_activity")
async def cancel_running_activity() -> str:
    try:
        return await other(work).run()
    except asyncio.CancelledError:
        return "cancelled"
