"""The helper: forks keepers, and stands in for those that are killed."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable

from .keep import Keeper
from .kernel import Wakeups, children, kill_descendants, name_this_process, set_subreaper
from .messages import describe_error, say
from .start import ignored_signals

TYPE_CHECKING = False
if TYPE_CHECKING:  # not imported: each module costs every keeper memory
    from typing import NoReturn

__all__ = ["main"]

# Beyond the grace periods, when the runtime is gone: what keepers need for the killing.
_KEEPERS_TIMEOUT = 10.0
# What killed processes need to die, and how long those that cannot be killed are waited for.
_SWEEP_TIMEOUT = 5.0
# Between two looks at orphans that were killed; see the keeper's.
_LOOK = 0.01

# How many of their statuses are kept. One message has to hold them, and a socket the message; the agent, whose
# status is the one that matters, was its keeper's first child, and is reaped first.
_EXITS = 1000

_PACKET_BYTES = 4096
_DESCRIPTORS = 4
_DESCRIPTOR = struct.Struct("i")

# Whoever ends a whole group or session, or a service, ends the runtime too; and of that the helper learns by
# itself. Dying first would cost the agents their grace period.
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class _Kept:
    """A living keeper: a duplicate of its end of the control socket, and how long its end may take."""

    __slots__ = ("control", "grace")

    def __init__(self, control: socket.socket, grace: float) -> None:
        self.control = control
        self.grace = grace


class Helper:
    """See the package's docstring.

    Args:
        runtime: the helper's end of the helper socket.
        pidfd: of the runtime.
    """

    def __init__(self, runtime: socket.socket, pidfd: int) -> None:
        self._runtime = runtime
        self._pidfd = pidfd
        self._wakeups = Wakeups()
        self._keepers: dict[int, _Kept] = {}
        self._lost: list[socket.socket] = []  # control sockets of killed keepers: they are owed a last word
        self._exits: dict[int, int] = {}  # how the orphans of killed keepers ended
        self._over = False

    def serve(self) -> None:
        """Fork keepers until the runtime is gone or wants no more."""
        poll = select.poll()
        for fd in (self._wakeups.fd, self._runtime.fileno(), self._pidfd):
            poll.register(fd, select.POLLIN)
        while not self._over:
            self._settle()
            ready = {fd for fd, _ in poll.poll(_LOOK * 1000 if self._lost else None)}
            if self._pidfd in ready:
                return
            if self._wakeups.fd in ready:
                self._wakeups.drain()
            if self._runtime.fileno() in ready:
                self._receive()

    def _receive(self) -> None:
        flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC  # socket.recv_fds() would not pass them on
        room = socket.CMSG_SPACE(_DESCRIPTORS * _DESCRIPTOR.size)
        try:
            packet, rights, _, _ = self._runtime.recvmsg(_PACKET_BYTES, room, flags)
        except BlockingIOError:
            return
        except ConnectionError:
            packet, rights = b"", []
        fds = [fd for _, _, data in rights for (fd,) in _DESCRIPTOR.iter_unpack(data)]
        if not packet:
            self._over = True
        elif len(fds) == _DESCRIPTORS:
            self._fork_keeper(packet, fds)
        else:  # no descriptor was free here. The runtime sees the end of the control socket.
            for fd in fds:
                os.close(fd)

    def _fork_keeper(self, packet: bytes, fds: list[int]) -> None:
        control = socket.socket(fileno=fds[0])
        try:
            pid = os.fork()
        except OSError as error:
            say(control, {"refused": error.errno, "of": "program"})
            control.close()
        else:
            if pid == 0:
                self._become_keeper(control, fds[1:])
            self._keepers[pid] = _Kept(control, json.loads(packet)["grace"])
        for fd in fds[1:]:
            os.close(fd)

    def _become_keeper(self, control: socket.socket, pipes: list[int]) -> NoReturn:
        code = 1
        try:
            keeper = Keeper(control, self._pidfd, pipes)
            self._wakeups.close()
            self._runtime.close()
            for other in (*self._lost, *(kept.control for kept in self._keepers.values())):
                other.close()  # or the runtime would never see the end of it
            keeper.run()
            code = 0
        finally:
            os._exit(code)

    def _settle(self) -> None:
        """Take leave of the dead, and do for killed keepers what they cannot do any more."""
        self._reap()
        if not self._lost:
            return
        if set(children(os.getpid())) - set(self._keepers):
            kill_descendants(spare=self._keepers)
            self._reap()
        elif not self._reap():  # quiet while it looked: the kernel left nobody out
            for control in self._lost:
                say(control, {"exits": self._exits})
                say(control, {"empty": True})
                control.close()
            self._lost.clear()
            self._exits.clear()

    def _reap(self) -> int:
        """Take leave of every child that has ended; how many that were."""
        count = 0
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return count
            if pid == 0:
                return count
            count += 1
            kept = self._keepers.pop(pid, None)
            if kept is None:
                if len(self._exits) < _EXITS:
                    self._exits[pid] = os.waitstatus_to_exitcode(status)
            elif status == 0:
                kept.control.close()
            else:
                self._lost.append(kept.control)

    def finish(self) -> None:
        """Wait for the keepers, who know by themselves; end what is left after that; bounded."""
        deadline = time.monotonic() + max((kept.grace for kept in self._keepers.values()), default=0.0)
        for pid in self._keepers:
            os.kill(pid, signal.SIGCONT)  # a stopped one would sleep through it
        self._wait_while(lambda: bool(self._keepers), deadline + _KEEPERS_TIMEOUT)
        for pid in self._keepers:
            os.kill(pid, signal.SIGKILL)
        self._wait_while(lambda: bool(self._lost or self._keepers), time.monotonic() + _SWEEP_TIMEOUT)

    def _wait_while(self, going_on: Callable[[], bool], deadline: float) -> None:
        while True:
            self._settle()
            if not going_on() or time.monotonic() > deadline:
                return
            select.select([self._wakeups.fd], [], [], _LOOK if self._lost else 0.1)
            self._wakeups.drain()


def main(sock: int, pidfd: int) -> None:
    """The helper, from beginning to end. Takes the two descriptors over."""
    runtime = socket.socket(fileno=sock)
    for fd in (sock, pidfd):
        os.set_inheritable(fd, False)
    try:
        os.chdir("/")
        set_subreaper(True)
        name_this_process("pi-trio-helper")
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the runtime's own mask came through exec
        ignored_signals()
        helper = Helper(runtime, pidfd)
        # What is here now stays: a collection in a keeper would touch, and so copy, every page of it.
        gc.collect()
        gc.freeze()
        say(runtime, {"ready": os.getpid()})
        helper.serve()
        helper.finish()
    except BaseException:
        say(runtime, {"crashed": describe_error()})
        raise
