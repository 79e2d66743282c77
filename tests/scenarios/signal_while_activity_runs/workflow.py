from scenario import gate, note, other
from workflows import activity, wait_for_signal, workflow


@activity(name="signal_while_activity_runs.charge")
async def charge() -> str:
    note("charged")
    await gate("bank")
    return "paid"


@workflow(name="signal_while_activity_runs")
async def signal_while_activity_runs() -> list[str]:
    return [await other(charge).run(), await wait_for_signal("word", str)]
