from scenario import note, other
from workflows import activity, attempt_info, workflow


@activity(name="retries_until_it_works.ask", retries=3, initial=0.01, factor=2, max=0.05, jitter=0)
async def ask() -> int:
    attempt = attempt_info().attempt
    note(f"attempt {attempt}")
    if attempt < 3:
        raise ConnectionError("busy")
    return attempt


@workflow(name="retries_until_it_works")
async def retries_until_it_works() -> int:
    return await other(ask).run()
