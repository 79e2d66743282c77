"""The processes that run programs and replay their histories, in each language."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import workflows
from crash_stage import HERE as CRASH
from program_evidence import Run
from program_judge import judged
from program_languages import LANGUAGES

Json = dict[str, Any]
Replayers = Mapping[str, Sequence["Replayer"]]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# What a replaying process imports, whichever Python it is.
_IMPORTED = (HERE, CRASH, Path(workflows.__file__).parents[1])

_BUNDLES = ROOT / "build" / "programs"
_MAX_LINE = 64 * 1024 * 1024


def worker_command(language: str) -> list[str]:
    """Answer what starts a worker."""
    if language == "python":
        return [sys.executable, str(HERE / "program_worker.py")]
    return ["node", str(_compiled("program_worker"))]


def replay_command(language: str, number: int) -> list[str]:
    """Answer what starts the first or the second replaying process of a language.

    The second is of another version if PROGRAMS_REPLAY_PYTHON or PROGRAMS_REPLAY_NODE names
    one: histories must replay the same there.
    """
    other = os.environ.get(f"PROGRAMS_REPLAY_{language.upper()}") if number > 1 else None
    if language == "python":
        return [other or sys.executable, str(HERE / "program_replay.py")]
    return [other or "node", str(_compiled("program_replay"))]


@functools.cache
def _compiled(module: str) -> Path:
    """Strip the types once, so that a worker that replaces another starts as quickly as any."""
    bundle = _BUNDLES / f"{module}.js"
    own = _BUNDLES / f"{module}.{os.getpid()}.js"
    flags = ["--bundle", "--packages=external", "--format=cjs", "--platform=node"]
    subprocess.run(
        [
            str(ROOT / "node_modules" / ".bin" / "esbuild"),
            *(str(HERE / f"{module}.ts"), *flags, "--log-level=error", f"--outfile={own}"),
        ],
        check=True,
    )
    own.replace(bundle)  # at once, since another process may just read it
    return bundle


class Replayer:
    """A process that replays histories of one language; one of Python with a hash seed of its own.

    Args:
        language: of the histories.
        number: which of those of its language it is, from 1.
    """

    def __init__(self, language: str, number: int = 1) -> None:
        self._command = replay_command(language, number)
        self._number = number
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Replayer:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MAX_LINE,
            env={
                **{k: v for k, v in os.environ.items() if k != "CRASH_STAGE"},
                "PYTHONHASHSEED": str(self._number),
                "PYTHONPATH": os.pathsep.join(map(str, _IMPORTED)),
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def check(self, run: Run) -> Json:
        """Replay every prefix of a run's history, and say what does not fit."""
        claimed = {**run.row, "run": run.number, "args": [run.node]}
        record = await self.record(claimed, run.events)
        return judged(record, run.events, run.is_cut_off)

    async def record(self, claimed: Json, events: Sequence[Any]) -> Json:
        """Replay every prefix of a history, and answer what the code asks for."""
        request = {"claimed": claimed, "events": events}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._lock:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        assert line, "the replaying process has died"
        return json.loads(line)


@contextlib.asynccontextmanager
async def replayers() -> AsyncGenerator[Replayers]:
    """Two replaying processes of each language."""
    async with contextlib.AsyncExitStack() as stack:
        yield {
            language: [
                await stack.enter_async_context(Replayer(language, number)) for number in (1, 2)
            ]
            for language in LANGUAGES
        }
