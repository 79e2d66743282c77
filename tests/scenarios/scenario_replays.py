"""What `workflows replay` of each language says of the histories that scenarios left."""

from __future__ import annotations

import functools
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

    def verdict(self, name: str, way: str, language: str) -> str:
        """Answers what the code in this language says of a history: "fits", or what does not."""
        self._session.outcome(name, way)
        exported = json.loads(self._session.history(name, way).read_text())
        told = self._verdicts(language)[exported["execution"]["id"]]
        return "\n".join(filter(None, [told["verdict"], told["message"]]))

    @functools.cache  # noqa: B019  # there is one, as long as the session
    def _verdicts(self, language: str) -> dict[str, Json]:
        files = self._session.histories()
        command = self._session.command(language, "replay", "--json", "--file", *map(str, files))
        done = subprocess.run(
            command,
            cwd=HERE,
            env={**self._session.environment, "WORKFLOWS_TEST_OTHER_LANGUAGE": "1"},
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr.decode()
        return {each["id"]: each for each in json.loads(done.stdout)["histories"]}
