"""One task per instance: it starts the process, watches it, ends it, and says what happens."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from ..abc import ExitStatus, ProcessCommand, ProcessHost
from ..client import PiClient
from ..errors import ConnectionClosed, ProcessExited, SpawnError
from ..launch import InstanceSpec
from ..lifecycle import (
    Exited,
    InstanceEvent,
    InstanceState,
    Ready,
    Registered,
    StateChanged,
    StopManner,
    advance,
)
from ..protocol import State
from .incarnation import Ending, Incarnation

__all__ = ["InstanceStatus", "Supervisor"]


@attrs.frozen
class InstanceStatus:
    """An instance at one moment."""

    id: str
    state: InstanceState
    incarnation: int
    """How many processes it has had; 0 before the first."""
    pid: int | None
    """The process id of its Pi, while there is one."""
    provider: str | None
    model: str | None
    """What Pi said it uses when it became ready; before that, what the spec asks for."""
    session_id: str | None
    cwd: str
    uptime: float
    """Seconds since it became ready; 0.0 when it is not running."""
    exit_status: ExitStatus | None
    """How its last process ended."""


class Supervisor:
    """Supervises one instance. :meth:`run` is the one task that changes anything here."""

    def __init__(
        self,
        *,
        instance_id: str,
        spec: InstanceSpec,
        command: ProcessCommand,
        host: ProcessHost,
        publish: Callable[[InstanceEvent], None],
    ) -> None:
        self.instance_id = instance_id
        self.spec = spec
        self.client = PiClient(instance_id, request_timeout=spec.request_timeout)
        self.state = InstanceState.STARTING
        self._command = command
        self._host = host
        self._publish = publish
        self._incarnations = 0
        self._pid: int | None = None
        self._pi_state: State | None = None
        self._ready_at: float | None = None
        self._started_at = 0.0
        self._ending: Ending | None = None
        self._stop: tuple[StopManner, str] | None = None
        self._requested = False
        self._incarnation: Incarnation | None = None
        self._settled = trio.Event()  # ready, or over without ever having been
        self._over = trio.Event()

    def __repr__(self) -> str:
        pid = f" pid={self._pid}" if self._pid is not None else ""
        return f"<Supervisor {self.instance_id} {self.state}{pid}>"

    def status(self) -> InstanceStatus:
        """The instance as it is now."""
        model = self._pi_state.model if self._pi_state else None
        running = self.state is InstanceState.RUNNING and self._ready_at is not None
        return InstanceStatus(
            id=self.instance_id,
            state=self.state,
            incarnation=self._incarnations,
            pid=self._pid,
            provider=model.provider if model else self.spec.provider,
            model=model.id if model else self.spec.model,
            session_id=self._pi_state.session_id if self._pi_state else self.spec.session_id,
            cwd=self._command.cwd,
            uptime=trio.current_time() - self._ready_at if running and self._ready_at is not None else 0.0,
            exit_status=self._ending.status if self._ending else None,
        )

    # --- asked from other tasks ----------------------------------------------------------------------

    def request_stop(self, manner: StopManner, why: str) -> None:
        """Bring the instance to its end. A later, harsher request makes haste; a gentler one changes nothing."""
        if self._stop is None or manner > self._stop[0]:
            self._stop = (manner, why if self._stop is None else self._stop[1])
        if self._incarnation is not None:
            self._incarnation.request_stop(*self._stop)

    async def wait_ready(self) -> None:
        """Wait for the first answer of its Pi.

        Raises:
            SpawnError: it died, kept silent for too long, or was stopped; nothing of it is left.
        """
        await self._settled.wait()
        if self._pi_state is None:
            ending = self._ending or Ending(None)
            reason = ending.failure or (f"it {ending.status}" if ending.status else "it was stopped")
            raise SpawnError(
                f"{self.instance_id} did not become ready: {reason}",
                instance_id=self.instance_id,
                status=ending.status,
                stderr_tail=ending.stderr_tail,
            )

    async def wait_stopped(self) -> None:
        """Wait until nothing of the instance is left."""
        await self._over.wait()

    # --- the task ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live the whole life of the instance. Ends by itself, or when :meth:`request_stop` makes it."""
        self._publish(
            Registered(
                self.instance_id,
                trio.current_time(),
                provider=self.spec.provider,
                model=self.spec.model,
                cwd=self._command.cwd,
            )
        )
        try:
            ending = await self._live_once()
            # Not `self._stop is None`: that may have come when the process was dying by itself already.
            self._requested = self.state is InstanceState.STOPPING
            self._enter(InstanceState.STOPPED, self._why_over(ending))
        finally:
            self.client.close(self._why_gone, quietly=self._requested)
            self._settled.set()
            self._over.set()

    async def _live_once(self) -> Ending:
        self._incarnations += 1
        self._started_at = trio.current_time()
        self._publish_state("")
        self._incarnation = Incarnation(
            instance_id=self.instance_id,
            spec=self.spec,
            client=self.client,
            on_ready=self._became_ready,
            on_stopping=lambda why: self._enter(InstanceState.STOPPING, why),
        )
        if self._stop is not None:
            self._incarnation.request_stop(*self._stop)
        self._ending = await self._incarnation.run(self._host, self._command)
        self._incarnation = None
        self._pid = None
        if self._ending.status is not None:
            self._publish(
                Exited(
                    self.instance_id,
                    trio.current_time(),
                    incarnation=self._incarnations,
                    status=self._ending.status,
                    requested=self.state is InstanceState.STOPPING,
                )
            )
        return self._ending

    def _became_ready(self, state: State, pid: int) -> None:
        now = trio.current_time()
        self._pi_state, self._pid, self._ready_at = state, pid, now
        if self.state is InstanceState.STARTING:
            self._enter(InstanceState.RUNNING, "")
            self._publish(
                Ready(
                    self.instance_id,
                    now,
                    incarnation=self._incarnations,
                    pid=pid,
                    session_id=state.session_id,
                    start_seconds=now - self._started_at,
                )
            )
            self._settled.set()

    def _enter(self, state: InstanceState, reason: str) -> None:
        self.state = advance(self.state, state)
        self._publish_state(reason)

    def _publish_state(self, reason: str) -> None:
        self._publish(
            StateChanged(
                self.instance_id, trio.current_time(), state=self.state, incarnation=self._incarnations, reason=reason
            )
        )

    def _why_over(self, ending: Ending) -> str:
        if ending.failure is not None:
            return ending.failure
        if self._requested and self._stop is not None:
            return self._stop[1]
        return f"its process {ending.status}"

    def _why_gone(self) -> ConnectionClosed:
        ending = self._ending
        if self._requested or ending is None:
            why = self._stop[1] if self._stop else "is gone"
            return ConnectionClosed(f"{self.instance_id} {why}")
        return ProcessExited(instance_id=self.instance_id, status=ending.status, stderr_tail=ending.stderr_tail)
