"""A worker made of the class, with a warm cache of the size that is the first argument."""

from __future__ import annotations

import asyncio
import logging
import sys

import crash_functions as crash_functions  # registers what it runs
from workflows import Worker

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(Worker(sys.argv[2:], warm=int(sys.argv[1])).run())
