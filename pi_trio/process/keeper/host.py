"""The host for Linux: whatever is started through it is gone when its scope is, and when its process is."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import trio

from ...abc import ProcessCommand, ProcessHost, ProcessTree
from ..pipes import FdReceivePipe, FdSendPipe
from ..run_id import RunOwner
from ..stamp import make_stamp
from .available import keeper_available
from .control import Control, Identity
from .helper.messages import as_text
from .helper_process import HelperGone, HelperProcess
from .orphans import reaping_orphans
from .roster import Connections, Roster
from .tree import KeeperTree

__all__ = ["KeeperHost", "open_keeper_host"]

# A Python that starts on a busy machine; an exec from a slow file system behind hundreds of others.
_HELPER_START_TIMEOUT = 20.0
_AGENT_START_TIMEOUT = 30.0
# What a keeper is given to kill and report a tree whose spawn was cancelled.
_ABANDON_TIMEOUT = 5.0
# Beyond the longest grace period: more than the helper itself allows its keepers and its own sweep.
_CLOSE_TIMEOUT = 20.0
# SIGKILL works at once, but for a process in an uninterruptible system call.
_SWEEP_TIMEOUT = 5.0
# A helper that dies exactly while it is asked is replaced; when that happens again, something is wrong.
_ATTEMPTS = 2


class KeeperHost(ProcessHost):
    """Starts process trees that have keepers. Made by :func:`open_keeper_host`."""

    def __init__(self, serial: int | None) -> None:
        owner = RunOwner.this_process()
        self._roster = Roster(None if serial is None else make_stamp(owner, serial))
        self._helper: HelperProcess | None = None
        self._closed = False

    def __repr__(self) -> str:
        helper = f"helper={self._helper.pid}" if self._helper else "closed" if self._closed else "no helper"
        return f"<KeeperHost {helper}>"

    async def spawn(self, command: ProcessCommand) -> ProcessTree:
        """See :meth:`pi_trio.abc.ProcessHost.spawn`.

        Cancelling works at once: what was started is killed, and waited for.

        Raises:
            OSError: the operating system refused, or keepers cannot be started any more.
            ValueError: an argument or a variable contains what the operating system cannot pass on.
            trio.ClosedResourceError: this host was closed.
        """
        start = {"start": self._start_message(command)}
        await trio.lowlevel.checkpoint()
        for _ in range(_ATTEMPTS):
            try:
                return await self._spawn(command, start)
            except HelperGone:
                continue
        raise OSError(errno.ECHILD, "the helper for agents, or a keeper, died while it started one")

    def _start_message(self, command: ProcessCommand) -> dict[str, Any]:
        env = {**command.env, **command.marker}
        if not command.argv:
            raise ValueError("there is no program to start: argv is empty")
        if any("\0" in text for text in (*command.argv, command.cwd, *env, *env.values())):
            raise ValueError("embedded null byte")
        if any("=" in name or not name for name in env):
            raise ValueError("illegal environment variable name")

        def text(string: str) -> str:
            return as_text(os.fsencode(string))

        return {
            "argv": [text(argument) for argument in command.argv],
            "env": {text(name): text(value) for name, value in env.items()},
            "cwd": text(os.path.abspath(command.cwd)),  # the helper's own is another
            "grace": command.grace_timeout,
            "stamp": self._roster.stamp,
        }

    async def _spawn(self, command: ProcessCommand, start: dict[str, Any]) -> KeeperTree:
        helper = self._living_helper()
        connections, theirs = _connect()
        try:
            try:
                await helper.request_keeper(theirs, command.grace_timeout)
            finally:
                for fd in theirs:
                    os.close(fd)
            await self._start_agent(command, start, connections.control, helper.identity)
        except BaseException:
            connections.close()
            raise
        # No checkpoint from here on: a cancellation now would leave a process that nobody owns.
        control = connections.control
        assert control.agent is not None
        assert control.keeper is not None
        return KeeperTree(
            self._roster,
            connections,
            command.marker,
            agent=control.agent,
            keeper=control.keeper,
            helper=helper.identity,
        )

    def _living_helper(self) -> HelperProcess:
        if self._closed:
            raise trio.ClosedResourceError("this host was closed")
        if self._helper is not None and not self._helper.alive:
            self._helper.release()
            self._helper = self._roster.helper = None
            self._roster.irregular = True
        if self._helper is None:
            self._helper = HelperProcess()
            self._roster.helper = self._helper.identity
        return self._helper

    async def _start_agent(
        self, command: ProcessCommand, start: dict[str, Any], control: Control, helper: Identity
    ) -> None:
        """Returns when the agent runs; else it raises, and nothing is left of the attempt."""
        asked = False
        try:
            with trio.move_on_after(_AGENT_START_TIMEOUT) as patience:
                await control.send(start)
                asked = True
                await control.wait_until(lambda: control.agent is not None or control.refusal is not None)
        finally:
            if control.agent is None and control.refusal is None:
                await self._abandon(command, control, helper, asked=asked)
            if control.keeper is not None:
                self._roster.enter_keeper(control.keeper, command.grace_timeout)
        if patience.cancelled_caught:
            raise OSError(errno.ETIMEDOUT, f"the program did not start within {_AGENT_START_TIMEOUT:g} s")
        if (refusal := control.refused(command.argv[0], command.cwd)) is not None:
            raise refusal
        if control.agent is None:
            raise HelperGone

    async def _abandon(self, command: ProcessCommand, control: Control, helper: Identity, *, asked: bool) -> None:
        """End whatever the keeper has started, or is about to."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _ABANDON_TIMEOUT):
            if asked:
                control.send_kill()
            control.hang_up()
            await control.wait_until(lambda: control.empty)
            if control.lost:
                await self._roster.take_over(command.marker, control.agent, control.keeper, helper)

    async def _open(self) -> None:
        self._helper = HelperProcess()
        self._roster.helper = self._helper.identity
        with trio.move_on_after(_HELPER_START_TIMEOUT) as patience:
            await self._helper.wait_ready()
        if patience.cancelled_caught:
            raise OSError(errno.ETIMEDOUT, f"the helper for agents did not start within {_HELPER_START_TIMEOUT:g} s")

    async def _aclose(self) -> None:
        """End what is left, in order if it can be. Bounded: by the longest grace period and fixed time-outs."""
        self._closed = True
        patience = self._roster.longest_grace + _CLOSE_TIMEOUT
        deadline = trio.current_time() + patience
        self._roster.close_all()
        if self._helper is not None:
            in_order = await self._helper.aclose(patience)
            self._helper = self._roster.helper = None
            self._roster.irregular |= not in_order
        await self._roster.outlive_keepers(deadline - trio.current_time())  # those of helpers that were killed
        if self._roster.irregular:
            with trio.move_on_after(_SWEEP_TIMEOUT):
                await self._roster.end_orphans({})


def _connect() -> tuple[Connections, list[int]]:
    """A control socket and three pipes: our ends, and the descriptors to be sent away and closed."""
    with ExitStack() as undo:

        def owned(fd: int) -> int:
            undo.callback(os.close, fd)
            return fd

        def pipe() -> tuple[int, int]:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            return owned(reader), owned(writer)

        ours, theirs = map(undo.enter_context, socket.socketpair())
        their_stdin, stdin = pipe()
        stdout, their_stdout = pipe()
        stderr, their_stderr = pipe()
        connections = Connections(
            control=Control(ours),
            stdin=FdSendPipe(stdin),
            stdout=FdReceivePipe(stdout),
            stderr=FdReceivePipe(stderr),
        )
        undo.pop_all()
    return connections, [theirs.detach(), their_stdin, their_stdout, their_stderr]


@asynccontextmanager
async def open_keeper_host() -> AsyncIterator[KeeperHost]:
    """A keeper host for the body. Behind it, no process of it is left, nor a descriptor, nor a thread.

    The owners of trees end them within the body. Trees that are left when it is over are ended politely by
    their keepers: SIGTERM, their command's grace period, SIGKILL. That is waited for, even when cancelled.

    While one is open, this process is a child subreaper (see prctl(2)): what the program itself leaves
    behind, such as a daemon it started, becomes its child, too.

    Raises:
        OSError: the system lacks what it takes (see :func:`keeper_available`), or the helper does not start.
    """
    available = keeper_available()
    if not available:
        raise OSError(errno.ENOSYS, available.why_not)
    with reaping_orphans() as serial:
        host = KeeperHost(serial)
        try:
            await host._open()
            yield host
        finally:
            with trio.CancelScope(shield=True):  # it has deadlines of its own
                await host._aclose()
