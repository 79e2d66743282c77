"""The version of this package."""

from __future__ import annotations

import os
import sys
from functools import cache

_PREFIX, _SUFFIX = "libworkflows-", ".dist-info"


@cache
def version() -> str:
    """Answers the version, as pip knows it.

    What `importlib.metadata` would answer, which loads three megabytes of mail parsing: the
    name of the directory says it already. Only where there is none, as in a zip file, is it asked.
    """
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
                return name[len(_PREFIX) : -len(_SUFFIX)]
    from importlib import metadata

    try:
        return metadata.version("libworkflows")
    except metadata.PackageNotFoundError:  # run from a checkout that was not installed
        return "0.0.0.dev0"
