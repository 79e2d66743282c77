from scenario import deployed, other
from workflows import activity, get_version, workflow


@activity(name="version_of_passed_code.charge")
async def charge(cents: int) -> str:
    return f"charged {cents}"


@activity(name="version_of_passed_code.ship", retries=0)
async def ship() -> str:
    if not deployed("tax"):
        raise RuntimeError("not yet")
    return "shipped"


@workflow(name="version_of_passed_code")
async def version_of_passed_code() -> list[str]:
    version = get_version("tax", 1, 2) if deployed("tax") else 1
    charged = await other(charge).run(100 if version == 1 else 119)
    return [charged, await other(ship).run()]
