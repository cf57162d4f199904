"""A process tree that has a keeper."""

from __future__ import annotations

import signal as signals
from collections.abc import Mapping

from ...abc import ExitStatus, ProcessTree, ReceivePipe, SendPipe, Signal
from ..direct import exit_status
from ..listeners import listens_at
from ..procfs import signal_exactly
from .control import Identity
from .roster import Connections, Roster

__all__ = ["KeeperTree"]


class KeeperTree(ProcessTree):
    """A process tree of the keeper host. If it is closed before it is empty, its keeper ends what is left.

    Args:
        roster: of the host.
        connections: to the agent and its keeper. Owned from here on.
        marker: variables that the agent was given in its environment.
        agent: the root of the tree.
        keeper: its keeper.
        helper: the one that forked the keeper.
    """

    def __init__(
        self,
        roster: Roster,
        connections: Connections,
        marker: Mapping[str, str],
        *,
        agent: Identity,
        keeper: Identity,
        helper: Identity,
    ) -> None:
        self._roster = roster
        self._agent = agent
        self._keeper = keeper
        self._helper = helper
        self._connections = connections
        self._control = connections.control
        self._marker = dict(marker)
        roster.enter(agent, connections)

    def __repr__(self) -> str:
        state = "empty" if self._control.empty else "alive" if self._control.exit is None else "ended"
        return f"<KeeperTree pid={self.pid} {state}>"

    @property
    def pid(self) -> int:
        """See :class:`pi_trio.abc.ProcessTree`, here and below."""
        return self._agent.pid

    @property
    def stdin(self) -> SendPipe:
        """What the process reads from."""
        return self._connections.stdin

    @property
    def stdout(self) -> ReceivePipe:
        """What the process writes to."""
        return self._connections.stdout

    @property
    def stderr(self) -> ReceivePipe:
        """What the process complains to."""
        return self._connections.stderr

    def send_signal(self, signal: Signal) -> None:
        """Send a signal to the agent, unless it ended.

        Directly, not by way of the keeper: so it has been sent on return, and reaches the agent of a keeper
        that somebody stopped.
        """
        if self._control.exit is None:
            signal_exactly(self._agent.pid, self._agent.started, getattr(signals, signal.value))

    def listens_at(self, port: int) -> bool:
        """Whether it is this tree that answers there."""
        return listens_at(port, self._agent.pid, self._marker)

    def kill_tree(self) -> None:
        """Have the keeper kill everything. It does not rest until that is done."""
        if not self._control.empty:
            self._control.send_kill()
            for guardian in (self._keeper, self._helper):  # should somebody have stopped them
                signal_exactly(guardian.pid, guardian.started, signals.SIGCONT)

    async def wait_exit(self) -> ExitStatus:
        """Wait for the agent to end.

        If its keeper, and the helper that stands in for keepers, were both killed, and whatever reaped the
        agent was one of them, its status cannot be known: then it is SIGKILL, which is what the end of a
        keeper does to its agent.
        """
        control = self._control
        await control.wait_until(lambda: control.exit is not None or control.empty)
        if control.lost and control.exit is None:
            await self._recover()
        return exit_status(-signals.SIGKILL if control.exit is None else control.exit)

    async def wait_empty(self) -> None:
        """Wait until the keeper, or whoever had to stand in for it, found nothing more to kill."""
        control = self._control
        await control.wait_until(lambda: control.empty)
        if control.lost:
            await self._recover()
        await self._roster.part(self._keeper)

    async def _recover(self) -> None:
        await self._roster.take_over(self._marker, self._agent, self._keeper, self._helper)
        self._control.empty = True

    def close(self) -> None:
        """Close the pipes and the connection to the keeper."""
        self._connections.close()
        self._roster.leave(self._agent)
