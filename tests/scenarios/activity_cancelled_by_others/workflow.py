from scenario import gate, note, other
from workflows import ActivityCancelled, activity, wait_for_signal, workflow


@activity(name="activity_cancelled_by_others.work")
async def work() -> None:
    note("begun")
    await gate("never")


@workflow(name="activity_cancelled_by_others")
async def activity_cancelled_by_others() -> list[str]:
    try:
        await other(work).run()
    except ActivityCancelled as error:
        return [error.type, error.message, await wait_for_signal("word", str)]
    return []
