from scenario import gate, other
from workflows import activity, gather, workflow


@activity(name="gather_in_argument_order.fetch")
async def fetch(name: str) -> str:
    await gate(name)
    return name.upper()


@workflow(name="gather_in_argument_order")
async def gather_in_argument_order() -> list[str]:
    return list(await gather(*(other(fetch).run(name) for name in ("a", "b", "c"))))
