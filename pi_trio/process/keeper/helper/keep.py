"""A keeper: starts one agent, and does not rest until nothing of it is left."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections import deque

from .kernel import Wakeups, kill_descendants, name_this_process, set_subreaper, started
from .messages import Lines, describe_error, say
from .start import Refused, start_agent

TYPE_CHECKING = False
if TYPE_CHECKING:  # not imported: each module costs every keeper memory
    from typing import Any

__all__ = ["Keeper"]

# Between two looks at what is left of a killed tree. SIGCHLD wakes the keeper at each death; this is for
# those that could not be killed yet: soon at first, rarely where a process does not die.
_FIRST_LOOK = 0.005
_LAST_LOOK = 0.1

_RECEIVE_BYTES = 65536


class Keeper:
    """One agent's keeper. :meth:`run` is its whole life, in a process of its own.

    Args:
        control: the keeper's end of the control socket.
        runtime: a pidfd of the runtime.
        pipes: the agent's ends of its stdin, stdout and stderr.
    """

    def __init__(self, control: socket.socket, runtime: int, pipes: list[int]) -> None:
        self._control = control
        self._runtime = runtime
        self._pipes = pipes
        self._wakeups = Wakeups()
        self._lines = Lines()
        self._messages: deque[dict[str, Any]] = deque()
        self._agent = 0
        self._exited = False
        self._alone = False  # nobody is there any more who would want the agent
        self._poll = select.poll()
        for fd in (self._wakeups.fd, control.fileno(), runtime):
            self._poll.register(fd, select.POLLIN)

    def run(self) -> None:
        """Returns when nothing is left. An error comes out, with the agent alive: exit then, and it dies."""
        try:
            os.setsid()
            set_subreaper(True)
            name_this_process("pi-trio-keeper")
            while not self._messages and not self._alone:
                self._wait(None)
            if not self._messages:
                return  # nobody asked for anything
            start = self._messages.popleft()["start"]
            if self._start(start):
                self._watch(start["grace"])
                self._sweep()
                say(self._control, {"empty": True})
        except BaseException:
            say(self._control, {"crashed": describe_error()})
            raise

    def _start(self, start: dict[str, Any]) -> bool:
        try:
            self._agent = start_agent(start, self._pipes)
        except Refused as refusal:
            say(self._control, {"refused": refusal.errno, "of": refusal.of})
            return False
        for fd in self._pipes:
            os.close(fd)  # the agent's own are the last: its end is the end of the file
        me = os.getpid()
        say(self._control, {"started": [self._agent, started(self._agent)], "keeper": [me, started(me)]})
        return True

    def _wait(self, timeout: float | None) -> None:
        """Wait for anything to happen, and take it in."""
        for fd, _ in self._poll.poll(None if timeout is None else max(0.0, timeout) * 1000):
            if fd == self._wakeups.fd:
                self._wakeups.drain()
            elif fd == self._runtime:
                self._alone = True
            else:
                self._receive()
        if self._alone:
            # Both stay readable for ever, and have nothing more to say.
            for fd in (self._control.fileno(), self._runtime):
                try:
                    self._poll.unregister(fd)
                except KeyError:
                    pass

    def _receive(self) -> None:
        try:
            data = self._control.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._messages.extend(self._lines.feed(data))
        else:
            self._alone = True

    def _watch(self, grace: float) -> None:
        """Until the agent has ended, or has to be killed."""
        deadline: float | None = None
        while self._reap() and not self._exited:
            if any("kill" in message for message in self._messages):
                return
            if self._alone and deadline is None:
                deadline = time.monotonic() + grace
                # Not reaped yet, so the pid is still its own. A stopped process would not see the first.
                os.kill(self._agent, signal.SIGTERM)
                os.kill(self._agent, signal.SIGCONT)
            timeout = None if deadline is None else deadline - time.monotonic()
            if timeout is not None and timeout <= 0:
                return
            self._wait(timeout)

    def _sweep(self) -> None:
        """Kill whatever descends from this process until there is nothing to wait for: ECHILD."""
        pause = _FIRST_LOOK
        while self._reap():
            kill_descendants()
            self._wait(pause)
            pause = min(2 * pause, _LAST_LOOK)

    def _reap(self) -> bool:
        """Take leave of every child that has ended. Whether there are others."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if ended is None:
                return True
            if ended.si_pid == self._agent:
                # Said before it is reaped: if this process is killed here, the helper can still see the status.
                code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                say(self._control, {"exit": code})
                self._exited = True
                self._agent = 0  # its number may come back, on somebody else
            os.waitpid(ended.si_pid, 0)
