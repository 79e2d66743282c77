from typing import Any

from scenario import other
from workflows import activity, continue_as_new, workflow, workflow_info


@activity(name="continue_as_new.double")
async def double(n: int) -> int:
    return 2 * n


@workflow(name="continue_as_new")
async def go_on(n: int, left: int) -> list[Any]:
    if left == 0:
        return [n, workflow_info().run]
    continue_as_new(await other(double).run(n), left - 1)
