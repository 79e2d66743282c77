from typing import Any

from scenario import other
from workflows import activity, attempt_info, workflow, workflow_info


@activity(name="workflow_facts.look")
async def look() -> list[Any]:
    info = attempt_info()
    return [info.name, info.attempt, info.parent_id, info.root_id]


@workflow(name="workflow_facts.child")
async def child() -> list[Any]:
    info = workflow_info()
    return [info.name, info.run, info.parent_id, info.root_id]


@workflow(name="workflow_facts")
async def workflow_facts() -> list[Any]:
    info = workflow_info()
    first = [info.id, info.run, info.name, info.parent_id, info.history_length]
    return [
        first,
        await other(look).run(),
        await other(child).run(),
        workflow_info().history_length,
    ]
