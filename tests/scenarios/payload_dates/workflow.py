from datetime import UTC, datetime, timedelta

from scenario import other
from workflows import activity, workflow


@activity(name="payload_dates.tomorrow")
async def tomorrow(at: datetime) -> datetime:
    return at + timedelta(days=1)


@workflow(name="payload_dates")
async def payload_dates() -> list[float]:
    at = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    return [(await other(tomorrow).run(at)).timestamp()]
