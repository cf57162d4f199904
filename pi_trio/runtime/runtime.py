"""The runtime: puts the rooms below together, and decides nothing itself."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

import attrs
import trio

from ..abc import ProcessCommand, ProcessHost
from ..concurrency import ServiceNursery, open_service_nursery
from ..endpoint import EndpointConfig, Endpoints
from ..errors import ConnectionClosed, InstanceExists, InstanceNotFound, MaxInstancesError, PiTrioError, SpecError
from ..launch import InstanceSpec, PiInstall, check_text, find_pi, read_default_models
from ..lifecycle import TERMINAL, InstanceState, ScalingPolicy, StopManner, Unregistered
from ..process import (
    Address,
    Interruption,
    ListeningSocket,
    Ports,
    current_interruption,
    new_run_id,
    open_default_host,
)
from ..protocol import BashResult
from ..registry import AutoSpawn, EventFeed, Registry, WarmPool
from ..supervisor import (
    ChildSpec,
    Instance,
    InstanceStatus,
    Kin,
    Strategy,
    SupervisionTree,
    Supervisor,
    Surroundings,
    check_children,
)
from .current import runtime_for_tasks

__all__ = ["Runtime", "RuntimeStatistics", "open_runtime"]

# Instances that are over are kept for their logs, up to a megabyte each; a runtime may live for weeks.
_REMEMBERED = 256


@attrs.frozen
class RuntimeStatistics:
    """What a runtime has done so far."""

    spawned: int
    """Instances that were asked for, failed ones included."""
    failed_starts: int
    """Of these, how many never became ready."""
    by_state: Mapping[InstanceState, int]
    """How many of the instances that :meth:`Runtime.list` shows are in each state now."""
    uptime: float
    """Seconds since the runtime was opened."""

    @property
    def running(self) -> int:
        """How many are running now."""
        return self.by_state.get(InstanceState.RUNNING, 0)


class Runtime:
    """Spawns and ends instances. Made by :func:`open_runtime`."""

    def __init__(
        self,
        service: ServiceNursery,
        registry: Registry,
        host: ProcessHost,
        *,
        max_instances: int,
        max_starting: int,
        run_id: str,
        endpoints: Endpoints,
        endpoint_by_default: bool,
    ) -> None:
        self._service = service
        self._registry = registry
        self._host = host
        self._max_instances = max_instances
        self._starts = trio.CapacityLimiter(max_starting)
        self._supervisors: dict[str, Supervisor] = {}
        self._instances: dict[str, Instance] = {}
        self._pis: dict[str | Path | PiInstall | None, PiInstall] = {}
        self._last_number = 0
        self._spawned = 0
        self._failed_starts = 0
        self._opened_at = trio.current_time()
        self.run_id = run_id
        """Every process of this runtime has it in its environment, as ``PI_TRIO_RUN``."""
        self.endpoints = endpoints
        """What opens the endpoints of this runtime's instances: tokens and tickets."""
        self._endpoint_by_default = endpoint_by_default

    @property
    def closing(self) -> bool:
        """Whether its body is over: nothing can be spawned any more."""
        return self._service.closing

    def __repr__(self) -> str:
        return f"<Runtime {self._count_alive()} of at most {self._max_instances} instances>"

    def _count_alive(self) -> int:
        return sum(supervisor.state not in TERMINAL for supervisor in self._supervisors.values())

    async def spawn(
        self, spec: InstanceSpec | None = None, *, id: str | None = None, endpoint: bool | Address | None = None
    ) -> Instance:
        """Start a Pi, and wait until it is ready: a real ``get_state`` came back.

        Cancelling ends what was started, and waits until nothing of it is left.

        ``endpoint`` says whether other programs can reach it, at ``instance.endpoint.url``: ``True`` for a port of
        the runtime's range, a number for that port and no other (0: what the system gives), a string or path for a
        UNIX socket, ``False`` for not at all; ``None`` for what ``open_runtime(endpoints=...)`` said. An instance with
        an endpoint has ``branching=True`` and at least ``python_tools=()``: the programs there may bring tools and move
        within the session. (A Pi that serves by itself is left as it is.)

        Raises:
            SpawnError: Pi could not be started, died, or did not answer within ``spec.start_timeout``.
            MaxInstancesError: there are ``max_instances`` already.
            InstanceExists: the ``id`` is taken.
            SpecError: ``spec.cwd`` is not a folder.
            SetupError: Pi, or the Node.js it needs, is missing or too old.
            PortAllocationError: there is no port for its endpoint, or ``spec.port`` is taken.
        """
        return await self._spawn(InstanceSpec() if spec is None else spec, id, None, endpoint)

    async def _spawn(
        self,
        spec: InstanceSpec,
        id: str | None,
        tree: SupervisionTree | None,
        endpoint_at: bool | Address | None = None,
    ) -> Instance:
        self._check_room(id)
        spec = self._in_its_folder(spec)
        if spec.pi not in self._pis:
            self._pis[spec.pi] = await find_pi(spec.pi)
        self._check_room(id)  # again: others may have come while this task waited
        name = self._next_id() if id is None else id
        env = spec.environment(os.environ)
        if spec.port is not None:
            Ports().check(spec.port)
        listening = self._listen(endpoint_at)
        if listening is not None and spec.launch == "stdio":
            spec = attrs.evolve(spec, branching=True, python_tools=spec.python_tools or ())
        # From here to the tasks that own what was taken, there is no checkpoint.
        sender = self._registry.sender()
        supervisor = Supervisor(
            instance_id=name,
            spec=spec,
            env=env,
            surroundings=Surroundings(
                host=self._host,
                command=self._command_for(self._pis[spec.pi], name, env),
                publish=sender.send_nowait,
                starts=self._starts,
                default_models=partial(read_default_models, self._pis[spec.pi]),
                kin=Kin() if tree is None else tree,  # an empty tree is false
                release=(lambda: None) if listening is None else listening.close,
            ),
        )
        instance = Instance(supervisor)
        if listening is not None:
            instance.endpoint = self.endpoints.open(instance, listening)
            self._service.start_soon(instance.endpoint.serve, name=f"endpoint of {name}")

        async def supervise() -> None:
            with sender:
                try:
                    await supervisor.run()
                finally:
                    self._registry.disown(name)
                    sender.send_nowait(Unregistered(name, trio.current_time(), str(supervisor.state)))

        self._registry.adopt(name, supervisor.client)
        # First its task, then its name: what is in the table is waited for at the end.
        self._service.start_soon(supervise, name=f"supervisor of {name}")
        self._forget_the_oldest()
        self._supervisors[name] = supervisor
        self._instances[name] = instance
        self._spawned += 1
        if tree is not None:
            tree.add(supervisor, instance)
        try:
            await supervisor.wait_ready()
            with trio.CancelScope(shield=True):  # who gets the instance finds it in the registry, too
                await self._registry.catch_up()
        except BaseException:
            self._failed_starts += 1
            supervisor.request_stop(StopManner.PROMPT, "was cancelled while it started")
            with trio.CancelScope(shield=True):  # bounded by the supervisor's own deadlines
                await supervisor.wait_stopped()
            raise
        return instance

    def _in_its_folder(self, spec: InstanceSpec) -> InstanceSpec:
        """The spec with its folder, which has to be there, by its full name."""
        try:
            cwd = os.path.abspath(spec.cwd)
        except OSError as error:
            raise SpecError(f"cwd is {spec.cwd!r}, relative to a folder that is gone: {error}") from error
        if not self._host.has_folder(cwd):
            raise SpecError(f"cwd is not a folder: {cwd}")
        return spec if cwd == spec.cwd else attrs.evolve(spec, cwd=cwd)

    def _listen(self, at: bool | Address | None) -> ListeningSocket | None:
        if at is None:
            at = self._endpoint_by_default
        if at is False:
            return None
        return self.endpoints.listen(None if at is True else at)

    def _command_for(
        self, pi: PiInstall, name: str, env: Mapping[str, str]
    ) -> Callable[[InstanceSpec], ProcessCommand]:
        def command(spec: InstanceSpec) -> ProcessCommand:
            return ProcessCommand(
                argv=(*pi.command, *spec.arguments()),
                cwd=spec.cwd,
                env=env,
                marker={"PI_TRIO_RUN": self.run_id, "PI_TRIO_INSTANCE": name},
                grace_timeout=spec.grace_timeout,
            )

        return command

    @asynccontextmanager
    async def open_supervisor(
        self,
        children: Sequence[ChildSpec],
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: int = 5,
        period: float = 60.0,
    ) -> AsyncIterator[SupervisionTree]:
        """A supervision tree for the body: its children are started in order, each when the one before is ready.

        A child that has to be restarted takes others with it as ``strategy`` says. There are at most ``intensity``
        restarts of children in any ``period`` seconds; when another is asked for, everything is stopped. Behind
        the body the children are stopped in reverse order, politely, or promptly when it raised or was cancelled.

        Trees nest by their scopes: what goes wrong in an inner one ends the body of the outer one.

        Raises:
            RestartIntensityExceeded: the budget was spent; the body was cancelled.
            SpawnError: a child did not start; those before it have been stopped.
            SpecError: there is no child, or two have one id.
        """
        check_children(children)
        tree = SupervisionTree(strategy, intensity, period)

        async def stop(reason: BaseException | None) -> None:
            manner = StopManner.POLITE if reason is None else StopManner.PROMPT
            await tree.stop(manner, "was stopped with its supervision tree")

        try:
            async with open_service_nursery(stop) as service:
                service.start_soon(tree.watch, name="supervision tree")
                for child in children:
                    await tree.wait_until_all_stand()
                    await self._spawn(child.spec, child.id, tree)
                yield tree
        except BaseException as error:
            # A body that was talking to a child learns of its end first: that is the effect, not the cause.
            if tree.failure is not None and tree.failure is not error and _only_effects(error, tree.failure):
                raise tree.failure from error
            raise

    def _check_room(self, wanted: str | None) -> None:
        if self.closing:
            raise PiTrioError("the runtime is being closed: nothing can be spawned any more")
        if wanted is not None:
            check_text("id", wanted)
            alive = wanted in self._supervisors and self._supervisors[wanted].state not in TERMINAL
            if alive or self._registry.is_elsewhere(wanted):
                raise InstanceExists(wanted)
        if self._count_alive() >= self._max_instances:
            raise MaxInstancesError(self._max_instances)

    def _forget_the_oldest(self) -> None:
        over = [name for name, supervisor in self._supervisors.items() if supervisor.state in TERMINAL]
        for name in over[: max(0, len(over) - _REMEMBERED)]:
            del self._supervisors[name], self._instances[name]

    def _next_id(self) -> str:
        while True:
            self._last_number += 1
            name = f"pi-{self._last_number}"
            if name not in self._supervisors and not self._registry.is_elsewhere(name):
                return name

    def get(self, instance_id: str) -> Instance:
        """The instance with this id, running, or one of the last 256 that are over.

        Raises:
            InstanceNotFound: there is none.
        """
        try:
            return self._instances[instance_id]
        except KeyError:
            raise InstanceNotFound(instance_id, known=tuple(self._instances)) from None

    def list(self, *, state: InstanceState | None = None) -> tuple[Instance, ...]:
        """The instances in the order they were spawned, the last 256 that are over among them.

        With ``state``, only those that are in it now.
        """
        return tuple(each for each in self._instances.values() if state is None or each.state is state)

    def status(self, instance_id: str) -> InstanceStatus:
        """One instance as it is now. Raises :class:`InstanceNotFound`."""
        return self.get(instance_id).status()

    async def kill(self, instance_id: str, *, force: bool = False) -> None:
        """End an instance, and wait until nothing of it is left; see :meth:`Instance.stop`.

        Raises:
            InstanceNotFound: there is none with this id.
        """
        await self.get(instance_id).stop(force=force)

    async def exec(self, instance_id: str, command: str, *, timeout: float | None = None) -> BashResult:
        """Run a shell command in an instance's session; see :meth:`PiClient.bash`.

        Raises:
            InstanceNotFound: there is none with this id.
            ClientError: as :meth:`PiClient.request`.
        """
        return await self.get(instance_id).client.bash(command, timeout=timeout)

    @property
    def registry(self) -> Registry:
        """Who is there, how they are, which one to take: the instances spawned here, and others."""
        return self._registry

    def auto_spawn(
        self, spec: InstanceSpec, policy: ScalingPolicy | None = None, *, name: str = "auto-spawn"
    ) -> AutoSpawn:
        """A discovery that spawns this spec as often as there is work for it; give it to ``registry.discover``."""
        return AutoSpawn(
            self._registry,
            lambda: self._spawn_for_discovery(spec),
            self._end,
            policy=ScalingPolicy() if policy is None else policy,
            room_of_each=spec.max_concurrent,
            name=name,
        )

    @asynccontextmanager
    async def warm_pool(
        self, spec: InstanceSpec, size: int, *, max_instances: int | None = None, name: str = "warm-pool"
    ) -> AsyncIterator[WarmPool]:
        """A reserve of ``size`` instances that are ready, for the body. It is being filled when the body begins."""
        spec = attrs.evolve(spec, selectable=False)
        pool = WarmPool(
            self._registry,
            lambda: self._spawn_for_discovery(spec),
            self._end,
            size=size,
            max_instances=max_instances,
            name=name,
        )
        async with self._registry.discover(pool):
            yield pool

    async def _spawn_for_discovery(self, spec: InstanceSpec) -> str:
        return (await self.spawn(spec)).id

    async def _end(self, instance_id: str) -> None:
        if instance_id in self._instances:  # one that is over may have been forgotten
            await self.kill(instance_id)

    def events(self, *, capacity: int = 1024) -> EventFeed:
        """What happens to the instances: a snapshot, then every event; see :class:`EventFeed`."""
        return self._registry.subscribe(capacity=capacity)

    def statistics(self) -> RuntimeStatistics:
        """What has been done so far, in one frozen value."""
        return RuntimeStatistics(
            spawned=self._spawned,
            failed_starts=self._failed_starts,
            by_state=Counter(each.state for each in self._instances.values()),
            uptime=trio.current_time() - self._opened_at,
        )

    async def _heed(self, interruption: Interruption) -> None:
        """Hurry when somebody at a terminal says so."""
        await interruption.wait_count(2)
        self._request_stop_of_all(StopManner.HASTY, "was interrupted twice")
        await interruption.wait_count(3)
        self._request_stop_of_all(StopManner.FORCE, "was interrupted three times")

    def _request_stop_of_all(self, manner: StopManner, why: str) -> None:
        for supervisor in self._supervisors.values():
            supervisor.request_stop(manner, why)

    def _all_over(self) -> bool:
        return all(supervisor.over for supervisor in self._supervisors.values())

    async def _stop_all(self, manner: StopManner, why: str) -> None:
        self._request_stop_of_all(manner, why)  # all at once: n of them take as long as one
        for supervisor in self._supervisors.values():
            await supervisor.wait_stopped()


def _only_effects(error: BaseException, cause: BaseException) -> bool:
    """Whether there is nothing in ``error`` but what follows from the end of an instance."""
    if isinstance(error, BaseExceptionGroup):
        return all(_only_effects(each, cause) for each in error.exceptions)
    return error is cause or isinstance(error, ConnectionClosed)


@asynccontextmanager
async def open_runtime(
    *,
    host: ProcessHost | None = None,
    max_instances: int = 64,
    max_starting: int | None = None,
    endpoints: EndpointConfig | None = None,
    registry: Registry | None = None,
) -> AsyncIterator[Runtime]:
    """A runtime for the body: whatever is spawned in it is gone when the body is over.

    When the body returns, every instance is stopped politely, all at once: stdin closed, a short drain,
    SIGTERM, the grace period, SIGKILL to the whole tree. When it raises or is cancelled: SIGTERM at once,
    the grace period, SIGKILL. Both are waited for, at most the sum of the specs' time-outs, even when
    cancelled. What the body raises comes out unchanged.

    Args:
        host: what starts processes; by default the keeper host on Linux, else the direct host.
        max_instances: how many may be alive at the same time.
        max_starting: how many may be starting at the same time, others wait for their turn; two for each
            processor by default.
        endpoints: how endpoints are served. When it is given, every instance has one, unless ``spawn`` says
            otherwise; without it, those that ``spawn`` wants are served as ``EndpointConfig()`` says.
        registry: a new one, made to open clients to other instances, or to watch them, as the program likes.
    """
    if max_instances < 1:
        raise ValueError(f"max_instances must be positive, not {max_instances}")
    if max_starting is not None and max_starting < 1:
        raise ValueError(f"max_starting must be positive, not {max_starting}")
    if max_starting is None:
        max_starting = 2 * (os.cpu_count() or 1)
    # The host is opened first and closed last: it must be there as long as there is anything to end.
    async with open_default_host() if host is None else nullcontext(host) as chosen:
        async with _open_on(chosen, max_instances, max_starting, registry or Registry(), endpoints) as runtime:
            yield runtime


@asynccontextmanager
async def _open_on(
    host: ProcessHost,
    max_instances: int,
    max_starting: int,
    registry: Registry,
    endpoint_config: EndpointConfig | None,
) -> AsyncIterator[Runtime]:
    run_id = new_run_id()
    endpoints = Endpoints(EndpointConfig() if endpoint_config is None else endpoint_config, run_id)
    runtime: Runtime | None = None
    heeding = trio.CancelScope()

    # The first call that is not polite is prompt; a second one comes with a Ctrl-C, and so does a third.
    harsher = iter((StopManner.PROMPT, StopManner.HASTY))

    async def stop(reason: BaseException | None) -> None:
        registry.quiesce()
        try:
            if runtime is not None:
                if reason is None:
                    await runtime._stop_all(StopManner.POLITE, "was stopped with its runtime")
                else:
                    why = "was stopped: its runtime's scope was left by an exception"
                    await runtime._stop_all(next(harsher, StopManner.FORCE), why)
        finally:
            if runtime is None or runtime._all_over():
                heeding.cancel()
                registry.close()
                endpoints.close()

    async with open_service_nursery(stop) as service:
        service.start_soon(registry.serve, name="registry")
        runtime = Runtime(
            service,
            registry,
            host,
            max_instances=max_instances,
            max_starting=max_starting,
            run_id=run_id,
            endpoints=endpoints,
            endpoint_by_default=endpoint_config is not None,
        )
        interruption = current_interruption.get()
        if interruption is not None:

            async def heed(runtime: Runtime = runtime, interruption: Interruption = interruption) -> None:
                with heeding:
                    await runtime._heed(interruption)

            service.start_soon(heed, name="interrupts")
        with runtime_for_tasks(runtime):
            yield runtime
