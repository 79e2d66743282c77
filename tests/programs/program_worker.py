"""A worker of programs: its arguments are the size of its warm cache and its concurrency."""

from __future__ import annotations

import asyncio
import logging
import sys

import program_functions as program_functions  # registers what it runs
from workflows import Worker

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    warm, concurrency = map(int, sys.argv[1:])
    asyncio.run(Worker(["python"], warm=warm, concurrency=concurrency).run())
