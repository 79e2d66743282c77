from typing import Any

from scenario import gate, other
from workflows import ActivityCancelled, activity, job, workflow


@job(name="jobs_and_handles.mail", priority=9)
async def mail(to: str) -> str:
    return f"sent to {to}"


@activity(name="jobs_and_handles.wait")
async def wait() -> None:
    await gate("never")


@workflow(name="jobs_and_handles")
async def jobs_and_handles() -> list[Any]:
    sent = await (await other(mail).queue("ann")).result()
    waiting = await other(wait).queue()
    told: list[Any] = [sent, dict(await waiting.cancel())]
    try:
        await waiting.result()
    except ActivityCancelled as error:
        told.append(error.message)
    return told
