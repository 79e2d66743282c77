from typing import Any

from scenario import other
from workflows import activity, step, workflow


@activity(name="nothing_is_null.silent")
async def silent(_first: Any, _second: Any = None) -> None: ...


@step(name="nothing_is_null.quiet")
async def quiet() -> None: ...


@workflow(name="nothing_is_null.child")
async def child() -> None: ...


@workflow(name="nothing_is_null")
async def nothing_is_null() -> list[Any]:
    return [await other(silent).run(None), await quiet.run(), await other(child).run()]
