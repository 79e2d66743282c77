from scenario import deployed, note, other
from workflows import activity, workflow


@activity(name="retried_workflow.charge")
async def charge() -> str:
    note("charged")
    return "charged"


@activity(name="retried_workflow.ship", retries=0)
async def ship() -> str:
    note("to ship")
    if not deployed("the address"):
        raise LookupError("no such address")
    return "shipped"


@workflow(name="retried_workflow")
async def retried_workflow() -> list[str]:
    return [await other(charge).run(), await other(ship).run()]
