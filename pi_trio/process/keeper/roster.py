"""Who belongs to a keeper host: its helper, its keepers, its agents; and what is done when keepers are gone."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping

import attrs
import trio

from ...abc import ReceivePipe, SendPipe
from ..procfs import ProcessInfo, kill_exactly, open_exactly, read_process, signal_exactly
from .control import Control, Identity
from .orphans import Marks, find_orphans, reap_exactly

__all__ = ["Connections", "Roster"]

_log = logging.getLogger("pi_trio.process")

# SIGKILL takes effect soon, and nothing tells when: the first look comes early, the later ones rarely.
_FIRST_LOOK = 0.002
_LAST_LOOK = 0.05
# How long something that was killed, or said its last word, is waited for.
_END_TIMEOUT = 5.0


@attrs.frozen
class Connections:
    """Our ends of what connects us to an agent and its keeper."""

    control: Control
    stdin: SendPipe
    stdout: ReceivePipe
    stderr: ReceivePipe

    def close(self) -> None:
        """Close them all. The keeper ends what is left of the agent then. Idempotent."""
        for end in (self.control, self.stdin, self.stdout, self.stderr):
            end.close()


class Roster:
    """Nothing here waits for a pid that is not on it: the program has children of its own."""

    def __init__(self, stamp: int | None) -> None:
        self.stamp = stamp
        """What every agent is stamped with."""
        self.helper: Identity | None = None
        """The helper. Our child, not waited for."""
        self.irregular = False
        """Whether a helper died, so that processes may be left which nobody told us about."""
        self._keepers: dict[Identity, float] = {}
        self._agents: dict[Identity, Connections] = {}

    @property
    def longest_grace(self) -> float:
        """The longest grace period that a keeper may be giving its agent, in seconds."""
        return max(self._keepers.values(), default=0.0)

    def enter(self, agent: Identity, connections: Connections) -> None:
        """An agent was started."""
        self._agents[agent] = connections

    def enter_keeper(self, keeper: Identity, grace: float) -> None:
        """A keeper was started."""
        self._forget_dead_keepers()
        self._keepers[keeper] = grace

    def leave(self, agent: Identity) -> None:
        """Its tree was closed."""
        self._agents.pop(agent, None)

    def close_all(self) -> None:
        """Close the connections to every agent that is left."""
        for connections in self._agents.values():
            connections.close()
        self._agents.clear()

    def _forget_dead_keepers(self) -> None:
        for keeper in tuple(self._keepers):
            info = _read(keeper)
            if info is None or (not info.alive and reap_exactly(keeper.pid, keeper.started) is not None):
                del self._keepers[keeper]

    def _living(self) -> set[int]:
        """The pids of those who look after trees: these are theirs."""
        self._forget_dead_keepers()
        living = {keeper.pid for keeper in self._keepers}
        return living if self.helper is None else living | {self.helper.pid}

    async def take_over(
        self, marker: Mapping[str, str], agent: Identity | None, keeper: Identity | None, helper: Identity
    ) -> None:
        """End a tree whose control socket ended without a last word. To be bounded by the caller.

        That socket was closed by a keeper and a helper on their way out. Their children are theirs until they
        are all gone, so this waits for that first.
        """
        for guardian in (keeper, helper):
            if guardian is not None and not _is_up(guardian):
                self.irregular = True
                await self.outlive(guardian, _END_TIMEOUT)
        if not _is_up(helper):  # else it never came to a keeper
            await self.end_orphans(marker, agent)

    async def end_orphans(self, marker: Mapping[str, str], agent: Identity | None = None) -> None:
        """Kill and reap what has no keeper any more, until nothing is left. To be bounded by the caller.

        Args:
            marker: the environment variables of one instance; none: all that has our stamp.
            agent: the root of its tree.
        """
        marks = Marks(self.stamp, marker, agent)
        await trio.lowlevel.checkpoint()
        pause = _FIRST_LOOK
        while orphans := find_orphans(marks, self._living()):
            for process in orphans:
                if process.alive:
                    kill_exactly(process)
            for process in orphans:
                self._reap(process)
            await trio.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)

    def _reap(self, process: ProcessInfo) -> None:
        code = reap_exactly(process.pid, process.started)
        connections = self._agents.get(Identity(process.pid, process.started))
        if code is not None and connections is not None:
            connections.control.exit = code  # whoever's orphans were looked for, this was somebody's agent

    async def part(self, keeper: Identity) -> None:
        """Reap a keeper that said its last word, if it is our child: when its helper was killed."""
        info = _read(keeper)
        if info is not None and info.ppid == os.getpid():
            await self.outlive(keeper, _END_TIMEOUT)

    async def outlive_keepers(self, timeout: float) -> None:
        """Wait until no keeper is left; those that take longer than ``timeout`` are killed."""
        deadline = trio.current_time() + timeout
        for keeper in tuple(self._keepers):
            await self.outlive(keeper, deadline - trio.current_time())

    async def outlive(self, keeper: Identity, timeout: float) -> None:
        """Wait for the end of a keeper, or make it; reap it if it is our child."""
        pidfd = open_exactly(keeper.pid, keeper.started)
        if pidfd is not None:
            signal_exactly(keeper.pid, keeper.started, signal.SIGCONT)  # a stopped one would sleep through it
            try:
                with trio.move_on_after(max(0.0, timeout)) as patience:
                    await trio.lowlevel.wait_readable(pidfd)
                if patience.cancelled_caught:
                    _log.error("a keeper (pid %d) does not end: it is killed", keeper.pid)
                    self.irregular = True
                    signal_exactly(keeper.pid, keeper.started, signal.SIGKILL)
                    with trio.move_on_after(_END_TIMEOUT):
                        await trio.lowlevel.wait_readable(pidfd)
            finally:
                os.close(pidfd)
        self._forget_dead_keepers()


def _is_up(identity: Identity) -> bool:
    info = _read(identity)
    return info is not None and info.alive and not info.exiting


def _read(identity: Identity) -> ProcessInfo | None:
    info = read_process(identity.pid)
    return info if info is not None and info.started == identity.started else None
