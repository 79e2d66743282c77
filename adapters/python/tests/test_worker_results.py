"""What the worker does with results that cannot be written, against the engine in memory."""

from typing import Any

from workflows._functions import job, step, workflow

from .rig import Rig


async def test_a_result_that_is_not_json_fails_that_execution_alone(rig: Rig) -> None:  # T17
    @job
    def bad() -> Any:
        return {"x": [float("nan")]}

    @job
    def good() -> int:
        return 1

    row = await rig.run(bad)
    assert row.status == "failed"
    assert row.failures == 1
    assert "result.x[0]" in row.error["message"]
    assert (await rig.run(good)).result == 1


class Unwritable(dict[str, int]):
    """A value whose own code fails while it is made JSON."""

    def items(self) -> Any:
        raise RuntimeError("lost its connection")


async def test_a_result_whose_own_code_fails_is_a_failure_and_the_worker_lives(rig: Rig) -> None:
    @job(retries=0)
    async def j() -> object:
        return Unwritable(a=1)

    @step(retries=0)
    async def s() -> object:
        return Unwritable(a=1)

    @workflow
    async def in_step() -> object:
        return await s.run()

    @workflow
    async def w() -> object:
        return Unwritable(a=1)

    for function in (j, w, in_step):
        row = await rig.run(function)
        assert row.status == "failed"
        assert "lost its connection" in row.error["message"]
