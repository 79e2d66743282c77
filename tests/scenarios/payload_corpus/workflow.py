from typing import Any

from scenario import other
from workflows import activity, workflow


@activity(name="payload_corpus.echo")
async def echo(value: Any) -> Any:
    return value


@workflow(name="payload_corpus")
async def payload_corpus(values: list[Any]) -> list[Any]:
    return [await other(echo).run(value) for value in values]
