from scenario import other
from workflows import activity, workflow


# What runs if the other language is this one; the workflow knows the declaration alone.
@activity(name="external_declaration.print_label")
async def label_printed_here(item: str, copies: int) -> list[str]:
    return [f"label of {item}"] * copies


@activity(name="external_declaration.print_label", external=True)
async def print_label(item: str, copies: int) -> list[str]: ...


@workflow(name="external_declaration")
async def external_declaration() -> list[str]:
    return await other(print_label).run("lamp", 2)
