"""What `workflows replay` of each language says of the histories that scenarios left."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from scenario_files import HERE
from scenario_session import Session

Json = dict[str, Any]

_PATIENCE = 60


class Replays:
    """Replays all histories at once, when the first verdict is asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._done: dict[str, subprocess.CompletedProcess[str]] = {}

    def verdicts(self, name: str, way: str, language: str) -> list[str]:
        """Answers what the code in this language says of each history: "fits", or what does not."""
        paths = self._session.histories(name, way)
        if language not in self._done:
            self._done[language] = self._replayed(language)
        done = self._done[language]
        assert done.returncode in (0, 1), done.stderr
        told = dict(
            zip(self._session.all_histories(), json.loads(done.stdout)["histories"], strict=True)
        )
        return ["\n".join(filter(None, [told[p]["verdict"], told[p]["message"]])) for p in paths]

    def _replayed(self, language: str) -> subprocess.CompletedProcess[str]:
        files = map(str, self._session.all_histories())
        return subprocess.run(
            self._session.command(language, "replay", "--json", "--file", *files),
            cwd=HERE,
            env={**self._session.environment, "WORKFLOWS_TEST_OTHER_LANGUAGE": "1"},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
