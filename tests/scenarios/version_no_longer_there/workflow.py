from scenario import deployed, other
from workflows import activity, get_version, workflow


@activity(name="version_no_longer_there.ship", retries=0)
async def ship() -> None:
    raise RuntimeError("not yet")


@workflow(name="version_no_longer_there")
async def version_no_longer_there() -> int:
    version = get_version("tax", 3, 4) if deployed("later") else get_version("tax", 1, 2)
    await other(ship).run()
    return version
