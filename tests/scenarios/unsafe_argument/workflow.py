from workflows import workflow


@workflow(name="unsafe_argument")
async def unsafe_argument(numbers: list[int]) -> str:
    return str(numbers[1])
