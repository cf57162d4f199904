"""From a keeper to its agent: fork, become somebody else, exec."""

from __future__ import annotations

import functools
import json
import os
import resource
import select
import signal
from collections.abc import Sequence

from .kernel import STAMP_LIMIT, set_death_signal
from .messages import as_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:  # not imported: each module costs every keeper memory
    from typing import Any, NoReturn

__all__ = ["Refused", "ignored_signals", "start_agent"]


class Refused(OSError):
    """The system would not start the program. ``of`` is what it would not take: ``"program"`` or ``"cwd"``."""

    def __init__(self, number: int, of: str) -> None:
        super().__init__(number, os.strerror(number))
        self.of = of


def start_agent(start: dict[str, Any], pipes: Sequence[int]) -> int:
    """Fork and exec; return the pid once the program is running.

    Args:
        start: what the runtime asks for; see the protocol.
        pipes: what becomes its stdin, stdout and stderr. They stay open here.

    Raises:
        Refused: it could not be started; nothing is left of the attempt.
    """
    keeper = os.getpid()
    # exec closes the writing end: the end of the file means that all went well.
    failure, tell = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError as error:
        os.close(failure)
        os.close(tell)
        raise Refused(error.errno or 0, "program") from None
    if pid == 0:
        _become_agent(start, pipes, keeper, tell)
    os.close(tell)
    why = os.read(failure, select.PIPE_BUF)  # written in one piece, or not at all
    os.close(failure)
    if why:
        os.waitpid(pid, 0)
        raise Refused(*json.loads(why))
    return pid


def _become_agent(start: dict[str, Any], pipes: Sequence[int], keeper: int, tell: int) -> NoReturn:
    of = "program"
    try:
        os.setsid()
        # The keeper has one thread, so the signal comes with its death and not before.
        set_death_signal(signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)  # it died before that line
        _reset_signals()
        _stamp(start["stamp"])
        for number, fd in enumerate(pipes):
            os.dup2(fd, number)  # everything else is closed by exec
        of = "cwd"
        os.chdir(as_bytes(start["cwd"]))
        of = "program"
        argv = [as_bytes(argument) for argument in start["argv"]]
        env = {as_bytes(name): as_bytes(value) for name, value in start["env"].items()}
        os.execvpe(argv[0], argv, env)  # noqa: S606  # that there is no shell is the point
    except OSError as error:
        os.write(tell, json.dumps([error.errno, of]).encode())
    finally:
        os._exit(127)


@functools.cache
def ignored_signals() -> tuple[int, ...]:
    """What exec would pass on: the signals that are ignored, by us, by Python, by who started the runtime.

    Looked up once, by the helper, before it forks anybody.
    """
    return tuple(number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN)


def _reset_signals() -> None:
    """Handlers end with exec; what is ignored or blocked would not."""
    for number in ignored_signals():
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _stamp(stamp: int | None) -> None:
    if stamp is None:
        return
    _, hard = resource.getrlimit(STAMP_LIMIT)
    try:
        resource.setrlimit(STAMP_LIMIT, (stamp, hard))
    except (OSError, ValueError):
        pass  # somebody lowered this limit: then the marker in the environment has to do
