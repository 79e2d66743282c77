from scenario import note
from workflows import step, workflow


@step(name="cancel_before_start.begin")
async def begin() -> None:
    note("begun")


@workflow(name="cancel_before_start")
async def cancel_before_start() -> None:
    await begin.run()
