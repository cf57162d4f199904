"""How the command ends: one table of exit codes, and the one place where an error becomes a line."""

from __future__ import annotations

import errno
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ..errors import PiTrioError, SetupError, SpawnError, SpecError

__all__ = ["EPILOG", "EXIT_CODES", "FAILED", "NOBODY", "OK", "SETUP", "SPAWN", "USAGE", "run_async"]

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
SETUP: Final = 3
SPAWN: Final = 4
NOBODY: Final = 5

EXIT_CODES: Final = {
    OK: "it was done",
    FAILED: "the run failed: the model's error, or Pi died on the way; a check found a broken promise; a discovery failed",
    USAGE: "the command line was wrong",
    SETUP: "Pi, Node.js or a package is missing, too old, or could not be installed",
    SPAWN: "Pi could not be started",
    NOBODY: "no instance is what was to be selected",
    130: "Ctrl-C (SIGINT): Pi was stopped politely",
    143: "SIGTERM: Pi was stopped politely",
}

EPILOG: Final = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
"""The end of every help text."""


def exit_code_of(error: PiTrioError) -> int:
    """The exit code for an error of ours."""
    if isinstance(error, SetupError):
        return SETUP
    if isinstance(error, SpecError):
        return USAGE
    return SPAWN if isinstance(error, SpawnError) else FAILED


def complain(message: str) -> None:
    """Say what is wrong, on stderr."""
    print(f"pitrio: {message}", file=sys.stderr)


def run_async(task: Callable[[], Awaitable[int]]) -> int:
    """Run a command's task; turn what goes wrong into a message and an exit code, never a traceback."""
    try:
        return trio.run(task)
    except PiTrioError as error:
        complain(str(error))
        return exit_code_of(error)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # whoever read our output is gone: click ends quietly
        complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return 130
