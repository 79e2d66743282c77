"""The command line: the library's, and what only Python can run: worker and replay."""

from __future__ import annotations

import argparse
import asyncio
import atexit
import gc
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence

from ._errors import WorkflowsError

_PROGRAM = "workflows"
_VALUED = ("--database-url", "--schema")  # the library's global flags; they may come first


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and answer the status to exit with.

    `worker`, `replay` and `--version` are this package's; everything else is the library's.

    Args:
        argv: the arguments without the program's name. Default the process's.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments == ["--version"]:
            return _show_version()
        at = _command_at(arguments)
        if at is not None and arguments[at] == "worker":
            return _worker(arguments[:at] + arguments[at + 1 :])
        if at is not None and arguments[at] == "replay":
            return _replay(arguments[:at] + arguments[at + 1 :])
        return _library(arguments)
    except WorkflowsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if error.code == "invalid_config" else 1


def _command_at(arguments: Sequence[str]) -> int | None:
    """Answer where the command stands behind global flags, some of which take a value."""
    at = 0
    while at < len(arguments):
        if arguments[at] in _VALUED:
            at += 2
        elif arguments[at].startswith("-"):
            at += 1
        else:
            return at
    return None


def _show_version() -> int:
    from . import __version__
    from ._library import Library

    print(f"{_PROGRAM} {__version__} (Python {sys.version.split()[0]})")
    library = Library.get()
    info = library.build_info
    print(f"library {info['version']} ({info['commit']}), {library.path}")
    return 0


def _library(arguments: list[str]) -> int:
    from ._embedded import postgres_binaries
    from ._library import Library

    # The command line opens an engine of its own, which finds the package's server by this alone.
    if binaries := postgres_binaries():
        os.environ.setdefault("WORKFLOWS_POSTGRES_BIN", binaries[0])
    # Python would only look at Ctrl-C once the command is done; nothing here needs it to.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return Library.get().run_command_line([_PROGRAM, *arguments])


# --- the worker -------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} worker",
        description="Run the jobs, activities and workflows of the modules that are named, until"
        " SIGTERM or Ctrl-C. The first of these lets what runs finish; a second puts it back at"
        " once.",
        epilog="example: workflows worker -m shop.orders -q orders -q default --concurrency 20",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-m",
        "--module",
        dest="modules",
        metavar="MODULE",
        action="append",
        required=True,
        help="module with the functions, as for import; may be given several times",
    )
    parser.add_argument(
        "-q",
        "--queue",
        dest="queues",
        metavar="QUEUE",
        action="append",
        help="queue to serve; may be given several times (default: default)",
    )
    parser.add_argument(
        "--concurrency",
        metavar="N",
        type=_positive,
        help="executions at a time (default $WORKFLOWS_WORKER_MAX_CONCURRENT, then 10)",
    )
    parser.add_argument("--database-url", metavar="URL", help="default $WORKFLOWS_DATABASE_URL")
    parser.add_argument("--schema", metavar="NAME", help="default $WORKFLOWS_SCHEMA")
    return parser


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text!r}")
    return int(text)


def _worker(arguments: list[str]) -> int:
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as done:  # argparse has said why
        return int(done.code or 0)
    if not _import(options.modules):
        return 2
    if options.database_url or options.schema:
        from ._client import configure

        configure(options.database_url, schema=options.schema)
    _log()
    from ._worker import Worker

    # What was imported lives as long as the process, so the collector need not look at it again.
    gc.collect()
    gc.freeze()
    asyncio.run(Worker(options.queues or ["default"], concurrency=options.concurrency).run())
    return _leave(0)


def _replay(arguments: list[str]) -> int:
    from ._replay_command import parser, run

    try:
        options = parser().parse_args(arguments)
    except SystemExit as done:  # argparse has said why
        return int(done.code or 0)
    return run(options) if _import(options.modules) else 2


def _log() -> None:
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


def _leave(status: int) -> int:
    """End the process even if a body in a thread does not; its execution was put back."""
    threads = [each for each in threading.enumerate() if each.name.startswith(f"{_PROGRAM}_")]
    for each in threads:
        each.join(0.05)  # an idle one ends by itself, but not at once
    stuck = [each for each in threads if each.is_alive()]
    if stuck:
        logging.getLogger(_PROGRAM).warning("%d threads are left behind, still busy", len(stuck))
        # What the interpreter would do once those threads had ended.
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _import(modules: Sequence[str]) -> bool:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # a console script has its own directory there instead
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            message = f"error: there is no module {error.name!r} in {here} or sys.path"
            print(message, file=sys.stderr)
            return False
        except Exception:
            traceback.print_exc()
            print(f"error: the module {module!r} could not be imported", file=sys.stderr)
            return False
    return True
