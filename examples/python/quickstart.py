"""A workflow and its worker in one file. Run it: it starts a PostgreSQL of its own."""

import asyncio

from workflows import Worker, activity, sleep, workflow


@activity(retries=5)
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow
async def welcome(name: str) -> str:
    greeting = await greet.run(name)  # recorded: not run again after a crash
    await sleep("2s")  # durable: two seconds or two weeks
    return f"{greeting} How do you do?"


async def main() -> None:
    async with Worker():
        print(await welcome.run("Ada"))


if __name__ == "__main__":
    asyncio.run(main())
