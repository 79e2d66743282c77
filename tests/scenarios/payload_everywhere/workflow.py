from typing import Any

from scenario import other
from workflows import activity, set_state, step, wait_for_signal, workflow


@activity(name="payload_everywhere.activity")
async def by_activity(value: Any) -> Any:
    return value


@step(name="payload_everywhere.step")
async def by_step(value: Any) -> Any:
    return value


@workflow(name="payload_everywhere.child")
async def by_child(value: Any) -> list[Any]:
    return [value, await wait_for_signal("value")]


@workflow(name="payload_everywhere")
async def payload_everywhere(value: Any) -> list[Any]:
    value = await other(by_activity).run(value)
    value = await by_step.run(value)
    set_state(value)
    signalled = await wait_for_signal("value")
    return [value, signalled, await other(by_child).run(value)]
