"""The handle a user holds on an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..abc import ExitStatus
from ..client import PiClient
from ..errors import RestartIntensityExceeded
from ..launch import InstanceSpec
from ..lifecycle import Health, InstanceState, StopManner
from ..tools import ToolHost
from .output import Logs
from .supervisor import InstanceStatus, Supervisor

if TYPE_CHECKING:
    from ..endpoint import Endpoint

__all__ = ["Instance"]


class Instance:
    """One supervised Pi. Made by ``runtime.spawn``; ends with its runtime at the latest."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.endpoint: Endpoint | None = None
        """Where other programs reach it; ``None`` when it was spawned without one."""

    def __repr__(self) -> str:
        pid = f" pid={self.pid}" if self.pid is not None else ""
        return f"<Instance {self.id} {self.state}{pid}>"

    @property
    def id(self) -> str:
        """Its name in the runtime, such as ``"pi-3"``."""
        return self._supervisor.instance_id

    @property
    def spec(self) -> InstanceSpec:
        """What it was spawned from."""
        return self._supervisor.spec

    @property
    def client(self) -> PiClient:
        """Talks to its Pi."""
        return self._supervisor.client

    @property
    def tools(self) -> ToolHost:
        """The functions of this program that its Pi may call."""
        return self._supervisor.tools

    @property
    def state(self) -> InstanceState:
        """Where it is in its life."""
        return self._supervisor.state

    @property
    def pid(self) -> int | None:
        """The process id of its Pi, while there is one."""
        return self._supervisor.status().pid

    @property
    def exit_status(self) -> ExitStatus | None:
        """How its last process ended; ``None`` while the first one lives."""
        return self._supervisor.status().exit_status

    @property
    def health(self) -> Health:
        """How well it is, while it runs."""
        return self._supervisor.health

    @property
    def failure(self) -> RestartIntensityExceeded | None:
        """Why it was given up, when its state is ``failed``."""
        return self._supervisor.failure

    def logs(self, *, tail: int | None = None, follow: bool = False) -> Logs:
        """What its processes wrote, to stdout (Pi's records) and stderr, as lines with their times.

        The last ``spec.log_bytes`` bytes are kept, and can be read after its end too. Iterate it with ``for`` for what
        there is now: the last ``tail`` lines, or all of them. With ``follow``, iterate it with ``async for``: it goes on
        until the instance is over. Values of variables with names like ``*_KEY`` or ``*_TOKEN`` are blotted out.
        """
        return Logs(self._supervisor.output, tail=tail, follow=follow)

    def status(self) -> InstanceStatus:
        """The instance as it is now, in one frozen value."""
        return self._supervisor.status()

    async def replace(self, spec: InstanceSpec, *, fresh: bool = False) -> None:
        """End its process and start another from ``spec``, in its place; wait until that is ready.

        The client, its subscribers and the endpoint stay; requests under way fail, later ones wait. It goes on with
        the session of the one before, unless it is to be ``fresh``. When it does not start, what follows is the
        restart policy's. What is asked of the runtime rather than of Pi (``health``, ``restart``, time-outs) is taken
        from the new spec; ``python_tools``, ``dialogs`` and ``log_bytes`` stay as they were. Cancelling stops the
        waiting.

        Raises:
            SpawnError: the instance is over, because it did not start or was stopped.
        """
        await self._supervisor.replace(spec, fresh=fresh)

    async def stop(self, *, force: bool = False) -> None:
        """End it, and wait until nothing of it is left.

        Politely: its stdin is closed and it is given ``drain_timeout`` seconds, then SIGTERM and
        ``grace_timeout`` seconds, then SIGKILL to the whole tree. With ``force``: SIGKILL at once. Requests in
        flight fail first. Cancelling stops the waiting, not the stop. Idempotent.
        """
        manner = StopManner.FORCE if force else StopManner.POLITE
        self._supervisor.request_stop(manner, "was killed" if force else "was stopped")
        await self._supervisor.wait_stopped()

    async def wait_stopped(self) -> None:
        """Wait until nothing of it is left, whoever or whatever ends it."""
        await self._supervisor.wait_stopped()
