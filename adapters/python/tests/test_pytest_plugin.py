"""The pytest plugin, in test runs of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

FLOWS = """
from datetime import UTC, datetime
import pytest
from workflows import sleep, workflow, wait_for_signal
import workflows

@workflow
async def greeting(name: str) -> str:
    await sleep("30d")
    return f"Hello, {name}!"
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = --strict-markers -p no:xdist\n")
    return pytester


def outcomes(run: pytest.Pytester, test: str, *options: str) -> dict[str, int]:
    run.makepyfile(test)
    done = run.runpytest_subprocess("-p", "no:asyncio", *options)
    return done.parseoutcomes()


def test_the_fixture_works_without_any_asyncio_plugin(run: pytest.Pytester) -> None:
    test = """
        def test_it(workflow_environment):
            assert workflows.client() is workflow_environment.client
            assert workflow_environment.run(greeting, "Ada") == "Hello, Ada!"

        def test_each_has_its_own(workflow_environment):
            assert workflow_environment.executions() == []
            assert workflow_environment.elapsed.total_seconds() == 0

        def test_the_default_client_is_back():
            assert type(workflows.client()).__name__ == "Client"
    """
    assert outcomes(run, _with(test)) == {"passed": 3}


def test_options_come_from_markers_the_nearest_first(run: pytest.Pytester) -> None:
    test = """
        pytestmark = pytest.mark.workflow_environment(start=datetime(2027, 1, 1, tzinfo=UTC))

        lives = []

        @workflow
        async def counts():
            lives.append(1)
            await sleep(1)

        @pytest.mark.workflow_environment(prove="never", cold=True)
        class TestThem:
            def test_it(self, workflow_environment):
                assert workflow_environment.now().year == 2027
                lives.append(1)
                workflow_environment.run(counts)
                assert len(lives) > 2, "it was replayed"

            @pytest.mark.workflow_environment(start=datetime(2030, 1, 1, tzinfo=UTC))
            def test_nearer(self, workflow_environment):
                assert workflow_environment.now().year == 2030

        @pytest.mark.workflow_environment("cold")
        def test_wrong(workflow_environment): ...
    """
    assert outcomes(run, _with(test)) == {"passed": 2, "errors": 1}


def test_what_nobody_waited_for_is_an_error_of_the_test(run: pytest.Pytester) -> None:
    test = """
        numbers = iter(range(100))

        @workflow
        async def careless():
            await sleep(next(numbers))
            await wait_for_signal("never")

        def test_it(workflow_environment):
            workflow_environment.start(careless)
            workflow_environment.skip("1h")
    """
    assert outcomes(run, _with(test)) == {"passed": 1, "errors": 1}


def test_it_costs_nothing_where_it_is_not_used(run: pytest.Pytester) -> None:
    test = """
        import sys

        def test_it():
            assert "_workflows_pytestplugin" in sys.modules
            assert "workflows" not in sys.modules
    """
    assert outcomes(run, test) == {"passed": 1}


def test_the_fixture_and_the_marker_are_listed(run: pytest.Pytester) -> None:
    run.makepyfile("")
    done = run.runpytest_subprocess("--fixtures", "-p", "no:asyncio")
    done.stdout.fnmatch_lines(["workflow_environment -- *", "*A WorkflowEnvironment:*"])
    done = run.runpytest_subprocess("--markers", "-p", "no:asyncio")
    done.stdout.fnmatch_lines(["@pytest.mark.workflow_environment(*"])


@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_async_tests_on_loops_of_any_scope(run: pytest.Pytester, scope: str) -> None:
    run.makepyfile(
        _with("""
        import asyncio

        async def test_one(workflow_environment):
            assert await greeting.run("Ada") == "Hello, Ada!"
            asyncio.get_running_loop().call_later(1, print)

        async def test_two(workflow_environment):
            handle = workflow_environment.start(greeting, "Grace")
            await asyncio.sleep(86400)
            assert handle.status() == "suspended"

        async def test_three():
            loop = asyncio.get_running_loop()
            began = loop.time()
            await asyncio.sleep(0.01)
            assert loop.time() - began < 60
        """)
    )
    done = run.runpytest_subprocess(
        *("-o", "asyncio_mode=auto"),
        *("-o", f"asyncio_default_fixture_loop_scope={scope}"),
        *("-o", f"asyncio_default_test_loop_scope={scope}"),
    )
    assert done.parseoutcomes() == {"passed": 3}


def _with(test: str) -> str:
    lines = test.splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return FLOWS + "\n".join(line[indent:] for line in lines)
