from typing import Any

from scenario import other
from workflows import ActivityError, activity, gather, workflow


class Odd(Exception):
    pass


@activity(name="gather_with_failures.half", retries=0)
async def half(n: int) -> int:
    if n % 2:
        raise Odd(str(n))
    return n // 2


@workflow(name="gather_with_failures")
async def gather_with_failures() -> list[Any]:
    calls = [other(half).run(n) for n in range(4)]
    results = await gather(*calls, return_exceptions=True)
    return [
        [each.type, each.message] if isinstance(each, ActivityError) else each for each in results
    ]
