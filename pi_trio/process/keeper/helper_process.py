"""The runtime's side of its helper: starting it, giving it work, ending it."""

from __future__ import annotations

import array
import errno
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence

import trio

from .control import Identity
from .helper.kernel import started
from .helper.messages import encode

__all__ = ["HelperGone", "HelperProcess"]

_log = logging.getLogger("pi_trio.process")

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "helper", "__main__.py")
_PACKET_BYTES = 65536
# How long a killed process is waited for.
_KILL_TIMEOUT = 5.0


class HelperGone(Exception):
    """The helper, or the keeper, died before it could start anything."""


class HelperProcess:
    """Owns the helper's process and the runtime's end of its socket."""

    def __init__(self) -> None:
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)
        self._sending = trio.Lock()
        myself = os.pidfd_open(os.getpid())
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _PROGRAM, str(theirs.fileno()), str(myself)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                pass_fds=(theirs.fileno(), myself),
                start_new_session=True,
            )
            # Our own child, and not waited for: the number is its own.
            self._pidfd = os.pidfd_open(self._process.pid)
            self.identity = Identity(self._process.pid, started(self._process.pid))
        except BaseException:
            self._sock.close()  # if it was started, this ends it
            raise
        finally:
            theirs.close()
            os.close(myself)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs. Reaps it if not."""
        return self._process.poll() is None

    async def wait_ready(self) -> None:
        """Wait until it serves.

        Raises:
            OSError: it does not.
        """
        said = b""
        try:
            await trio.lowlevel.wait_readable(self._sock)
            said = self._sock.recv(_PACKET_BYTES)
        except OSError:
            pass
        if b'"ready"' not in said:
            raise OSError(errno.ECHILD, f"the helper for agents did not start ({sys.executable}): {said.decode()}")

    async def request_keeper(self, descriptors: Sequence[int], grace_timeout: float) -> None:
        """Have a keeper forked, with these descriptors. Cancelled: nothing was asked for.

        Raises:
            HelperGone: it is dead.
            OSError: the descriptors cannot be sent now: there are too many in flight.
        """
        packet = encode({"grace": grace_timeout})
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        async with self._sending:  # one task waits for room; a packet goes as a whole or not at all
            while self._sock.fileno() >= 0:
                try:
                    self._sock.sendmsg([packet], rights, socket.MSG_NOSIGNAL)
                except BlockingIOError:
                    await self._wait_for_room()
                except ConnectionError:  # EPIPE is one
                    break
                else:
                    return
        raise HelperGone

    async def _wait_for_room(self) -> None:
        try:
            await trio.lowlevel.wait_writable(self._sock)
        except trio.ClosedResourceError:
            pass  # another task found it dead

    def release(self) -> None:
        """Give back what a dead helper left, and say what it said about it."""
        crash = ""
        try:
            while said := self._sock.recv(_PACKET_BYTES):
                crash = json.loads(said).get("crashed", crash)
        except OSError:
            pass
        _log.warning("the helper for agents (pid %d) ended: %s %s", self.pid, self._process.poll(), crash)
        self._close()

    def _close(self) -> None:
        for fd in (self._sock, self._pidfd):
            trio.lowlevel.notify_closing(fd)
        self._sock.close()
        os.close(self._pidfd)

    async def aclose(self, timeout: float) -> bool:
        """Make it end when its keepers have, and wait; after ``timeout`` seconds, kill it.

        Returns:
            Whether it ended by itself, in order: then nothing of its trees is left.
        """
        try:
            self._sock.shutdown(socket.SHUT_RDWR)  # closing would not do: a fork()ed child may hold it open
        except OSError:
            pass  # it is dead
        with trio.move_on_after(timeout) as patience:
            await trio.lowlevel.wait_readable(self._pidfd)
        if patience.cancelled_caught:
            _log.error("the helper for agents (pid %d) did not end within %g s: it is killed", self.pid, timeout)
            self._process.kill()
            with trio.move_on_after(_KILL_TIMEOUT):
                await trio.lowlevel.wait_readable(self._pidfd)
        code = self._process.poll()
        self._close()
        return code == 0
