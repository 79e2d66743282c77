from scenario import gate, other
from workflows import activity, as_completed, workflow


@activity(name="as_they_complete.fetch")
async def fetch(name: str) -> str:
    await gate(name)
    return name


@workflow(name="as_they_complete")
async def as_they_complete() -> list[str]:
    told: list[str] = []
    async for done in as_completed([other(fetch).run(name) for name in ("a", "b", "c")]):
        told.append(done.result())
    return told
