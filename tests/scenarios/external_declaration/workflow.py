from scenario import other
from workflows import activity, workflow


@activity(name="external_declaration.print_label")
async def print_label(item: str, copies: int) -> list[str]:
    return [f"label of {item}"] * copies


@workflow(name="external_declaration")
async def external_declaration() -> list[str]:
    return await other(print_label).run("lamp", 2)
