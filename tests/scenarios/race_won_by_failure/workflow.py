from scenario import other
from workflows import ActivityError, activity, race, sleep, workflow


class Unreachable(Exception):
    pass


@activity(name="race_won_by_failure.ask", retries=0)
async def ask() -> str:
    raise Unreachable("nobody is there")


@workflow(name="race_won_by_failure")
async def race_won_by_failure() -> str:
    try:
        await race(answer=other(ask).run(), late=sleep("1h"))
    except ActivityError as error:
        return str(error)
    return ""
