"""Writes the outcome of scenarios into their expected.json, from a run in Python alone.

python tests/scenarios/scenario_record.py [NAME...]     all scenarios, if none is named

For whoever writes a scenario or changes what is recorded. What it writes proves nothing until it
has been read: is each event what the promise says?
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "crash"))

from crash_stage import BINARIES
from scenario_files import names, read, write
from scenario_session import Session
from workflows import Client


def main(wanted: list[str]) -> int:
    """Records these scenarios, and answers how many could not be."""
    with tempfile.TemporaryDirectory() as directory:
        url = f"embedded:{directory}/postgres"
        keeper = Client(url, schema="keeper", postgres_binaries=BINARIES, pool_size=1)
        keeper.migrate_sync()
        with Session(url, Path(directory), [(name, "python") for name in wanted]) as session:
            failed = sum(not _record(session, name) for name in wanted)
        keeper.close()
    return failed


def _record(session: Session, name: str) -> bool:
    try:
        write(name, read(name).given, session.outcome(name, "python"))
    except Exception as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or names()))
