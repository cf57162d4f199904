"""One process of an instance, from its spawn to the moment nothing of it is left."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from ..abc import ExitStatus, Link, ProcessCommand, ProcessHost, ProcessTree, RecordTransport, Signal
from ..client import PiClient
from ..errors import ConnectFailed, ConnectionClosed, PiTrioError, ProcessExited, RequestTimeout
from ..launch import InstanceSpec
from ..lifecycle import (
    KILL_TIMEOUT,
    Health,
    HealthPolicy,
    HealthState,
    Probe,
    StopManner,
    StopPatience,
    StopStep,
    after_probe,
    next_step,
)
from ..protocol import State
from ..tools import ToolHost
from ..transport import DialledTransport, PipeTransport, open_websocket
from .output import OutputRing
from .tail import Tail

__all__ = ["Ending", "Incarnation", "Observer"]

_log = logging.getLogger("pi_trio.supervisor")

# The pipes end when the last process that holds them does. The whole tree gets SIGKILL as soon as its root
# is gone, so this is only ever waited out for a process that could not be found.
_PIPE_TIMEOUT = 0.5
# What the kernel needs to take a killed tree apart, with a margin for a machine that swaps.
_SWEEP_TIMEOUT = 5.0
# How long the functions that Pi called have to unwind before it is ended. They go on unwinding behind that, but what
# comes of them is not told to anybody.
_UNWIND_TIMEOUT = 1.0


@attrs.frozen
class Ending:
    """How an incarnation ended."""

    status: ExitStatus | None
    """How its process did; ``None`` when it never started, or could not be killed."""
    stderr_tail: bytes = b""
    failure: str | None = None
    """Why it was ended from here though nobody asked for it, in words."""
    asked: bool = False
    """Whether it was asked for."""

    @property
    def clean(self) -> bool:
        """Whether it ended by itself, with code 0."""
        return self.failure is None and self.status is not None and self.status.code == 0


@attrs.frozen
class Observer:
    """Whom an incarnation tells what happens to it."""

    ready: Callable[[State, int], None]
    """It answered its first request: with this state, from this pid."""
    stopping: Callable[[str], None]
    """Its end was asked for, and begins now."""
    health: Callable[[Health, float | None], None]
    """Its health is another than before; and the latency of the probe that showed it, in seconds."""


class Incarnation:
    """Owns one process tree, its two pumps, its stdin writer and the client's connection to it.

    It is never cancelled: it is told to stop (:meth:`request_stop`), and every wait of its teardown has a
    deadline. So the teardown is the same code whatever the reason for it is.
    """

    def __init__(
        self,
        *,
        instance_id: str,
        number: int,
        spec: InstanceSpec,
        client: PiClient,
        tools: ToolHost,
        output: OutputRing,
        observer: Observer,
    ) -> None:
        self._id = instance_id
        self._number = number
        self._spec = spec
        self._client = client
        self._tools = tools
        self._output = output
        self._observer = observer
        self._patience = StopPatience(drain_timeout=spec.drain_timeout, grace_timeout=spec.grace_timeout)
        self._manner: StopManner | None = None
        self._why = ""
        self._stop_wanted = trio.Event()
        self._waiting: trio.CancelScope | None = None
        self._starting: trio.CancelScope | None = None
        self._asked = False
        self._announced = False
        self._gone = False
        self._failure: str | None = None
        self._tail = Tail()
        self._ready = False
        self._slot: trio.CapacityLimiter | None = None  # where it has a place among those that are starting

    def request_stop(self, manner: StopManner, why: str) -> None:
        """End it in this manner, or more harshly if it is being ended already. Idempotent."""
        if manner is StopManner.POLITE and (not self._ready or self._spec.launch == "server"):
            manner = StopManner.PROMPT  # it has nothing to finish yet, or no stdin to be told by
        if self._gone:
            return  # what is left of it is being killed already
        if not self._asked:
            self._asked, self._why = True, why
            if self._manner is not None:  # it is being ended already, though not because of this
                self._announce_stop()
        self._end(manner)

    def _end(self, manner: StopManner) -> None:
        if self._manner is None:
            self._manner = manner
            self._stop_wanted.set()
            if self._starting is not None:
                self._starting.cancel()
        elif manner > self._manner:
            self._manner = manner
            if self._waiting is not None:
                self._waiting.cancel()

    async def run(self, host: ProcessHost, command: ProcessCommand, starts: trio.CapacityLimiter) -> Ending:
        """Live: returns when the process is gone, its output was read, and its tree is empty.

        ``starts`` limits how many processes start at the same time: it is held from the spawn until the process is
        ready, or over.
        """
        with trio.CancelScope() as self._starting:
            if self._manner is not None:
                self._starting.cancel()
            await starts.acquire_on_behalf_of(self)
        if self._starting.cancelled_caught:
            return Ending(None, failure=self._failure, asked=self._asked)
        self._slot = starts
        try:
            tree = await self._spawn(host, command)
            if tree is None:
                return Ending(None, failure=self._failure, asked=self._asked)
            try:  # no checkpoint since the spawn: the tree has an owner
                return await self._own(tree)
            finally:
                tree.kill_tree()
                tree.close()
        finally:
            self._release_slot()

    async def _spawn(self, host: ProcessHost, command: ProcessCommand) -> ProcessTree | None:
        """Start the process; ``None`` when that failed, took too long, or is not wanted any more."""
        tree: ProcessTree | None = None
        patience = self._spec.start_timeout
        try:
            with trio.CancelScope(deadline=trio.current_time() + patience) as self._starting:
                if self._manner is not None:
                    self._starting.cancel()
                tree = await host.spawn(command)  # cancelled, it may return all the same
        except (OSError, ValueError) as error:  # a ValueError is a string that the system cannot take
            self._failure = self._failure or f"it could not be started: {error}"
        else:
            if tree is None and self._manner is None:
                self._failure = f"it could not be started within {patience:g} s (start_timeout)"
        self._starting = None
        return tree

    def _release_slot(self) -> None:
        """It is ready, or over: another one may start. Idempotent."""
        if self._slot is not None:
            self._slot.release_on_behalf_of(self)
            self._slot = None

    async def _own(self, tree: ProcessTree) -> Ending:
        transport = self._transport_to(tree)
        self._client.attach(transport)
        self._tools.attach(transport)
        pumps_done = trio.Event()

        async def pump() -> None:
            async with trio.open_nursery() as pumps:
                pumps.start_soon(self._pump_records, transport)
                pumps.start_soon(self._pump_stderr, tree)
                if isinstance(transport, DialledTransport):
                    pumps.start_soon(self._pump_stdout, tree)
            pumps_done.set()

        async with trio.open_nursery() as nursery:
            self._client.serve_dialogs(nursery)
            nursery.start_soon(pump)
            nursery.start_soon(transport.run_sender)
            if self._tools.enabled:
                nursery.start_soon(self._tools.serve)
            nursery.start_soon(self._become_ready, tree.pid)
            status = await self._until_exit(tree, transport)
            asked = self._asked  # what is asked from here on did not end it
            self._gone = True
            tree.kill_tree()
            self._client.drain()
            with trio.move_on_after(_PIPE_TIMEOUT):
                await pumps_done.wait()
            # What was written has been read. Nobody waits longer for an answer that cannot come.
            tail = self._output.redactor(self._tail.get())
            self._client.detach(
                lambda: (
                    ConnectionClosed(f"{self._id} {self._why}")
                    if asked
                    else ProcessExited(instance_id=self._id, status=status, stderr_tail=tail)
                )
            )
            nursery.cancel_scope.cancel()
        with trio.move_on_after(_SWEEP_TIMEOUT) as sweep:
            await tree.wait_empty()
        if sweep.cancelled_caught:
            _log.error("%s: processes of its tree are left %g s after SIGKILL", self._id, _SWEEP_TIMEOUT)
        return Ending(status, tail, self._failure, asked)

    def _transport_to(self, tree: ProcessTree) -> PipeTransport | DialledTransport:
        if self._spec.launch == "server":
            return DialledTransport(partial(self._open_server, tree))
        return PipeTransport(
            tree.stdin,
            tree.stdout,
            max_record_bytes=self._spec.max_record_bytes,
            on_data=partial(self._output.add, "stdout", self._number),
        )

    @asynccontextmanager
    async def _open_server(self, tree: ProcessTree) -> AsyncIterator[Link]:
        assert self._spec.port is not None, "a server has one"
        url = f"ws://127.0.0.1:{self._spec.port}"
        async with open_websocket(url, max_record_bytes=self._spec.max_record_bytes) as link:
            # Whoever had the port before, or took it meanwhile, answers sooner than a Pi that only starts.
            if not tree.listens_at(self._spec.port):
                raise ConnectFailed(url, f"port {self._spec.port} is another program's", final=True)
            yield link

    async def _pump_records(self, transport: RecordTransport) -> None:
        await self._client.serve(transport)
        if isinstance(transport, DialledTransport):  # a pipe ends with its process, a connection may end by itself
            self.fail(f"its connection ended: {transport.failure}")

    async def _pump_stdout(self, tree: ProcessTree) -> None:
        while data := await tree.stdout.receive_some():
            self._output.add("stdout", self._number, data)

    async def _pump_stderr(self, tree: ProcessTree) -> None:
        while data := await tree.stderr.receive_some():
            self._tail.add(data)
            self._output.add("stderr", self._number, data)

    # --- alive -------------------------------------------------------------------------------------------

    async def _become_ready(self, pid: int) -> None:
        try:
            state = await self._client.probe(timeout=self._spec.start_timeout)
        except ConnectionClosed:
            return  # it died, or was stopped, before it answered: that is being dealt with
        except RequestTimeout:
            self.fail(f"it did not answer within {self._spec.start_timeout:g} s (start_timeout)")
            return
        except PiTrioError as error:
            self.fail(f"it answered its first request wrongly: {error}")
            return
        if self._manner is not None:
            return  # the answer came too late: it is being ended
        self._ready = True
        self._client.open()
        self._observer.ready(state, pid)
        self._release_slot()
        if self._spec.health is not None:
            await self._watch_health(self._spec.health)

    def fail(self, failure: str) -> None:
        """End it, though nobody asked for the instance to end: it will not do."""
        if self._manner is None:
            self._failure = failure
            self._end(StopManner.PROMPT)

    async def _watch_health(self, policy: HealthPolicy) -> None:
        state = HealthState()
        while True:
            await trio.sleep(policy.period)
            asked_at, heard_before = trio.current_time(), self._client.records_received
            latency: float | None = None
            try:
                await self._client.probe(timeout=policy.timeout)
                latency = trio.current_time() - asked_at
            except ConnectionClosed:
                return
            except PiTrioError as error:  # no answer in time, or a wrong one
                _log.debug("%s: a probe failed: %s", self._id, error)
            before = state.health
            state = after_probe(policy, state, Probe(latency, self._client.records_received > heard_before))
            if state.health is not before:
                self._observer.health(state.health, latency)
            if state.health is Health.UNHEALTHY and policy.action != "report":
                why = f"it is unhealthy: {state.misses} probes in a row were not answered within {policy.timeout:g} s"
                if policy.action == "stop":
                    self.request_stop(StopManner.PROMPT, f"was stopped: {why}")
                else:
                    self.fail(why)
                return

    # --- the end -----------------------------------------------------------------------------------------

    async def _until_exit(self, tree: ProcessTree, transport: RecordTransport) -> ExitStatus | None:
        """Wait for the process to end, and make it end when that is asked for."""
        status: ExitStatus | None = None

        async def watch() -> None:
            nonlocal status
            status = await tree.wait_exit()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await self._stop_wanted.wait()
            if self._asked:
                self._announce_stop()
            await self._end_calls()
            await self._escalate(tree, transport)
            nursery.cancel_scope.cancel()
        return status

    def _announce_stop(self) -> None:
        """Requests in flight fail first, and everybody is told. Once."""
        if self._announced:
            return
        self._announced = True
        self._observer.stopping(self._why)
        self._client.refuse(lambda: ConnectionClosed(f"{self._id} {self._why}"))

    async def _end_calls(self) -> None:
        """Cancel what Pi has called, and tell it so while it can still hear it, unless there is no time for that."""
        assert self._manner is not None
        patience = _UNWIND_TIMEOUT if self._manner < StopManner.HASTY else 0.0
        with trio.move_on_after(patience) as self._waiting:  # somebody who wants it faster cancels this
            await self._tools.end_calls(f"its Pi {self._why or 'is being ended'}")

    async def _escalate(self, tree: ProcessTree, transport: RecordTransport) -> None:
        taken: StopStep | None = None
        while self._manner is not None and (step := next_step(self._manner, taken)) is not None:
            if step is StopStep.CLOSE_STDIN:
                transport.close_sending()
            elif step is StopStep.TERMINATE:
                tree.send_signal(Signal.TERM)
                tree.send_signal(Signal.CONT)  # a stopped process would not see the first
            else:
                tree.kill_tree()
            taken = step
            await self._wait_out(step, tree.pid)

    async def _wait_out(self, step: StopStep, pid: int) -> None:
        """Give the process the time that it has after ``step``; the end of the process cancels this."""
        assert self._manner is not None
        deadline = trio.current_time() + self._patience.after(step, self._manner)
        while True:
            manner = self._manner
            with trio.CancelScope(deadline=deadline) as self._waiting:
                await trio.sleep_forever()
            if self._manner is manner:
                break
            # Somebody wants it faster: less time, but never more than is left.
            deadline = min(deadline, trio.current_time() + self._patience.after(step, self._manner))
        if step is StopStep.KILL:
            _log.error("%s: pid %d is still there %g s after SIGKILL", self._id, pid, KILL_TIMEOUT)
