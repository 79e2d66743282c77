from scenario import gate, other
from workflows import activity, send_signal, wait_for_signal, workflow, workflow_info


@activity(name="signals_between_workflows.think")
async def think(question: str) -> str:
    await gate("thought")
    return f"{question} 42"


@workflow(name="signals_between_workflows.child")
async def child() -> str:
    question = await wait_for_signal("question", str)
    parent = workflow_info().parent_id
    assert parent is not None
    await send_signal(parent, "answer", await other(think).run(question))
    return "answered"


@workflow(name="signals_between_workflows")
async def signals_between_workflows() -> list[str]:
    handle = await other(child).queue()
    await handle.signal("question", "how much?")
    answer = await wait_for_signal("answer", str)
    return [answer, await handle.result()]
