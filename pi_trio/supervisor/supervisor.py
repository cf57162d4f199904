"""One task per instance: it starts the process, watches it, starts it again or ends it, and says what happens."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping

import attrs
import trio

from ..abc import ExitStatus, ProcessCommand, ProcessHost
from ..client import PiClient
from ..errors import ConnectionClosed, ProcessExited, RestartIntensityExceeded, SpawnError
from ..launch import InstanceSpec
from ..lifecycle import (
    TERMINAL,
    Exited,
    GiveUp,
    Health,
    HealthChanged,
    InstanceEvent,
    InstanceState,
    ModelChanged,
    Ready,
    Registered,
    Restart,
    RestartDecision,
    RestartHistory,
    RestartScheduled,
    SessionChanged,
    StateChanged,
    StayDown,
    StopManner,
    advance,
    decide_restart,
)
from ..process import free_port
from ..protocol import State
from ..tools import ToolHost
from .incarnation import Ending, Incarnation, Observer
from .output import OutputRing, Redactor

__all__ = ["InstanceStatus", "Kin", "Supervisor"]


@attrs.frozen
class InstanceStatus:
    """An instance at one moment."""

    id: str
    state: InstanceState
    health: Health
    incarnation: int
    """How many processes it has had; 0 before the first."""
    pid: int | None
    """The process id of its Pi, while there is one that is ready."""
    provider: str | None
    model: str | None
    """What Pi said it uses when it became ready; before that, what the spec asks for."""
    session_id: str | None
    cwd: str
    uptime: float
    """Seconds since it became ready; 0.0 when it is not running."""
    exit_status: ExitStatus | None
    """How its last process ended."""


class Kin:
    """What an instance has to do with others. This one stands alone; a supervision tree has its own."""

    async def wait_turn(self, _supervisor: Supervisor) -> None:
        """Return when the instance may be started again."""
        await trio.lowlevel.checkpoint()

    def decide(self, supervisor: Supervisor, ending: Ending, ran_for: float) -> RestartDecision:
        """What follows an ending that nobody asked for."""
        return decide_restart(
            supervisor.spec.restart,
            supervisor.history,
            clean=ending.clean,
            ran_for=ran_for,
            now=trio.current_time(),
            random=random.random(),
        )

    def changed(self, _supervisor: Supervisor) -> None:
        """The instance is in another state."""


@attrs.frozen
class Surroundings:
    """What a supervisor is given by its runtime."""

    host: ProcessHost
    command: Callable[[InstanceSpec], ProcessCommand]
    """The command that starts this spec."""
    publish: Callable[[InstanceEvent], None]
    starts: trio.CapacityLimiter
    """Limits how many processes start at the same time."""
    kin: Kin = attrs.field(factory=Kin)
    default_models: Callable[[], Awaitable[Mapping[str, str]]] | None = None
    """The default models of the Pi that is started."""
    free_port: Callable[[], int] = free_port
    """A port for a Pi that serves, and was given none."""
    release: Callable[[], None] = lambda: None
    """Gives back what the instance was lent. Called before anybody is told that nothing of it is left."""


class Supervisor:
    """Supervises one instance. :meth:`run` is the one task that changes anything here."""

    def __init__(
        self, *, instance_id: str, spec: InstanceSpec, surroundings: Surroundings, env: Mapping[str, str]
    ) -> None:
        self.instance_id = instance_id
        self.spec = spec
        self.client = PiClient(instance_id, request_timeout=spec.request_timeout)
        self.client.dialog_handler = spec.dialogs
        self.client.on_state = self._state_seen
        self.client.default_models = surroundings.default_models
        self.tools = ToolHost(
            instance_id,
            spec.python_tools,
            max_concurrent=spec.max_concurrent_tools,
            request_timeout=spec.request_timeout,
        )
        self.client.add_dialog_interceptor(self.tools.intercept)
        self.client.turn.inside_call = self.tools.is_inside_call
        self.output = OutputRing(spec.log_bytes, Redactor(env))
        self.state = InstanceState.STARTING
        self.health = Health.UNKNOWN
        self.history = RestartHistory()
        self.failure: RestartIntensityExceeded | None = None
        self._around = surroundings
        self._incarnations = 0
        self._incarnation: Incarnation | None = None
        self._pid: int | None = None
        self._pi_state: State | None = None
        self._told_model: tuple[str | None, str | None] = (spec.provider, spec.model)
        self._ready_at: float | None = None
        self._started_at = 0.0
        self._ending: Ending | None = None
        self._stop: tuple[StopManner, str] | None = None
        self._stop_wanted = trio.Event()
        self._replace_why: str | None = None
        self._begin_anew = False  # the next process does not continue the session of the one before
        self._changed = trio.Event()
        self._settled = trio.Event()  # ready for the first time, or over without ever having been
        self._over = trio.Event()

    def __repr__(self) -> str:
        pid = f" pid={self._pid}" if self._pid is not None else ""
        return f"<Supervisor {self.instance_id} {self.state}{pid}>"

    @property
    def over(self) -> bool:
        """Whether nothing of the instance is left."""
        return self._over.is_set()

    @property
    def leaving(self) -> bool:
        """Whether its end was asked for, and has not come yet."""
        return self.state not in TERMINAL and (self._stop is not None or self.state is InstanceState.STOPPING)

    def status(self) -> InstanceStatus:
        """The instance as it is now."""
        model = self.client.last_state.model if self.client.last_state else None
        return InstanceStatus(
            id=self.instance_id,
            state=self.state,
            health=self.health,
            incarnation=self._incarnations,
            pid=self._pid,
            provider=model.provider if model else self.spec.provider,
            model=model.id if model else self.spec.model,
            session_id=self.client.session_id or self.spec.session_id,
            cwd=self.spec.cwd,
            uptime=self._ran_for() if self.state is InstanceState.RUNNING else 0.0,
            exit_status=self._ending.status if self._ending else None,
        )

    def _ran_for(self) -> float:
        return 0.0 if self._ready_at is None else trio.current_time() - self._ready_at

    # --- asked from other tasks ----------------------------------------------------------------------

    def request_stop(self, manner: StopManner, why: str) -> None:
        """Bring the instance to its end. A later, harsher request makes haste; a gentler one changes nothing."""
        if self._stop is None or manner > self._stop[0]:
            self._stop = (manner, why if self._stop is None else self._stop[1])
        self._stop_wanted.set()
        if self._incarnation is not None:
            self._incarnation.request_stop(*self._stop)

    def request_replacement(self, why: str) -> None:
        """End the process of now and start another when it is its turn, whatever the restart policy says."""
        self._replace_why = why
        if self._incarnation is not None:
            self._incarnation.fail(why)

    async def replace(self, spec: InstanceSpec, *, fresh: bool) -> None:
        """See :meth:`Instance.replace`."""
        self.spec = attrs.evolve(spec, session=None, session_id=None) if fresh else spec
        self._begin_anew = fresh
        before = self._incarnations
        if self._incarnation is not None:
            self.request_replacement("is replaced: another spec was asked for")
        while not self.over and (self._incarnations == before or self.state is not InstanceState.RUNNING):
            await self._changed.wait()
        if self.over:
            ending = self._ending or Ending(None)
            raise SpawnError(
                f"{self.instance_id} could not be replaced: {ending.failure or f'it {ending.status}'}",
                instance_id=self.instance_id,
                status=ending.status,
                stderr_tail=ending.stderr_tail,
            )

    async def wait_ready(self) -> None:
        """Wait for the first answer of its first Pi.

        Raises:
            SpawnError: it died, kept silent for too long, or was stopped; nothing of it is left.
        """
        await self._settled.wait()
        if self._pi_state is None:
            ending = self._ending or Ending(None)
            if ending.asked and self._stop is not None:
                reason = f"it {self._stop[1]}"
            else:
                reason = ending.failure or f"it {ending.status or 'ended'}"
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
        spec = self.spec
        self._publish(
            Registered(
                self.instance_id,
                trio.current_time(),
                provider=spec.provider,
                model=spec.model,
                cwd=spec.cwd,
                profile=spec.profile(),
            )
        )
        self._publish_state("")
        try:
            while await self._live_once():
                pass
        finally:
            asked = self._ending is not None and self._ending.asked
            self.tools.close("is over")
            self.client.close(self._why_gone, quietly=asked)
            self.output.close()
            self._settled.set()
            self._over.set()
            self._changed.set()

    async def _live_once(self) -> bool:
        """Have one process, to its end. Whether there is to be another."""
        ending = self._ending = await self._incarnate()
        if ending.asked:
            self._enter(InstanceState.STOPPED, self._stop[1] if self._stop else "was stopped")
            return False
        if self._pi_state is None and self._replace_why is None:
            # The first start is the caller's, who gets the error and decides.
            self._enter(InstanceState.STOPPED, self._what_happened(ending))
            return False
        decision = self._decide(ending)
        if isinstance(decision, GiveUp):
            policy = self.spec.restart
            self.failure = RestartIntensityExceeded(
                instance_id=self.instance_id,
                intensity=policy.intensity,
                period=policy.period,
                status=ending.status,
                stderr_tail=ending.stderr_tail,
            )
            self._enter(InstanceState.FAILED, self._what_happened(ending))
            return False
        if isinstance(decision, StayDown) or self._stop is not None:
            # A stop that came when it had ended by itself already: it is not started again, and that is all.
            self._enter(InstanceState.STOPPED, self._what_happened(ending))
            return False
        return await self._back_off(decision, self._what_happened(ending))

    def _decide(self, ending: Ending) -> RestartDecision:
        if self._replace_why is not None:
            self._replace_why = None
            return Restart(trio.current_time(), 0.0, self.history)
        return self._around.kin.decide(self, ending, self._ran_for() if self._ready_at is not None else 0.0)

    async def _back_off(self, restart: Restart, why: str) -> bool:
        self.history = restart.history
        self._enter(InstanceState.BACKING_OFF, why)
        self._publish(
            RestartScheduled(
                self.instance_id,
                trio.current_time(),
                incarnation=self._incarnations,
                delay=restart.delay,
                in_a_row=restart.history.in_a_row,
            )
        )
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                await trio.sleep_until(restart.due)
                await self._around.kin.wait_turn(self)
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait)
            await self._stop_wanted.wait()
            nursery.cancel_scope.cancel()
        if self._stop is not None:
            self._ending = attrs.evolve(self._ending, asked=True) if self._ending else None
            self._enter(InstanceState.STOPPED, self._stop[1])
            return False
        self._enter(InstanceState.STARTING, "")
        return True

    async def _incarnate(self) -> Ending:
        last = None if self._begin_anew else self.client.last_state
        self._begin_anew = False
        spec = self.spec if last is None else self.spec.continued(last)
        if spec.launch == "server" and spec.port is None:
            spec = attrs.evolve(spec, port=self._around.free_port())
        self._incarnations += 1
        self._started_at = trio.current_time()
        self._ready_at = None
        self._incarnation = Incarnation(
            instance_id=self.instance_id,
            number=self._incarnations,
            spec=spec,
            client=self.client,
            tools=self.tools,
            output=self.output,
            observer=Observer(
                ready=self._became_ready,
                stopping=lambda why: self._enter(InstanceState.STOPPING, why),
                health=self._health_changed,
            ),
        )
        if self._stop is not None:
            self._incarnation.request_stop(*self._stop)
        try:
            ending = await self._incarnation.run(self._around.host, self._around.command(spec), self._around.starts)
        finally:
            self._incarnation = None
            self._pid = None
        if ending.status is not None:
            self._publish(
                Exited(
                    self.instance_id,
                    trio.current_time(),
                    incarnation=self._incarnations,
                    status=ending.status,
                    requested=ending.asked,
                )
            )
        if self.health is not Health.UNKNOWN:
            self._health_changed(Health.UNKNOWN, None)
        return ending

    # --- what happens, told to everybody ------------------------------------------------------------

    def _became_ready(self, state: State, pid: int) -> None:
        if self.state is not InstanceState.STARTING:
            return  # it is being stopped: the answer came too late to matter
        now = trio.current_time()
        self._pi_state, self._pid, self._ready_at = state, pid, now
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
        self._tell_model(state)
        self._settled.set()

    def _state_seen(self, state: State) -> None:
        """Pi said what it is at: when it was asked by anybody, and with each probe."""
        before = self._pi_state
        if self.state is not InstanceState.RUNNING or before is None:
            return  # what it is at the beginning is told when it is ready
        self._pi_state = state
        if state.session_id != before.session_id:
            self._publish(SessionChanged(self.instance_id, trio.current_time(), state.session_id))
        if state.model != before.model:
            self._tell_model(state)

    def _tell_model(self, state: State) -> None:
        """Say which model answers, if that is another than was said before; Pi may have none chosen yet."""
        if state.model is not None and (told := (state.model.provider, state.model.id)) != self._told_model:
            self._told_model = told
            self._publish(ModelChanged(self.instance_id, trio.current_time(), *told))

    def _health_changed(self, health: Health, latency: float | None) -> None:
        self.health = health
        self._publish(
            HealthChanged(
                self.instance_id,
                trio.current_time(),
                incarnation=self._incarnations,
                health=health,
                latency=latency,
            )
        )

    def _enter(self, state: InstanceState, reason: str) -> None:
        self.state = advance(self.state, state)
        if state in TERMINAL:
            self._around.release()
        self._publish_state(reason)
        self._around.kin.changed(self)
        self._changed.set()
        self._changed = trio.Event()

    def _publish(self, event: InstanceEvent) -> None:
        self._around.publish(event)

    def _publish_state(self, reason: str) -> None:
        self._publish(
            StateChanged(
                self.instance_id, trio.current_time(), state=self.state, incarnation=self._incarnations, reason=reason
            )
        )

    def _what_happened(self, ending: Ending) -> str:
        return ending.failure if ending.failure is not None else f"its process {ending.status or 'ended'}"

    def _why_gone(self) -> ConnectionClosed:
        ending = self._ending
        if ending is None or ending.asked:
            return ConnectionClosed(f"{self.instance_id} {self._stop[1] if self._stop else 'is gone'}")
        return ProcessExited(instance_id=self.instance_id, status=ending.status, stderr_tail=ending.stderr_tail)
