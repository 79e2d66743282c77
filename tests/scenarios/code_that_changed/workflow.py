from scenario import deployed, other
from workflows import activity, workflow


@activity(name="code_that_changed.charge")
async def charge() -> str:
    return "charged"


@activity(name="code_that_changed.pack")
async def pack() -> str:
    return "packed"


@activity(name="code_that_changed.ship", retries=0)
async def ship() -> str:
    if not deployed("swapped"):
        raise RuntimeError("not yet")
    return "shipped"


@workflow(name="code_that_changed")
async def code_that_changed() -> list[str]:
    functions = [charge, pack]
    if deployed("swapped") and not deployed("as before"):
        functions.reverse()
    return [await other(function).run() for function in [*functions, ship]]
