"""One process of an instance, from its spawn to the moment nothing of it is left."""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
import trio

from ..abc import ExitStatus, ProcessCommand, ProcessHost, ProcessTree, Signal
from ..client import PiClient
from ..errors import ConnectionClosed, PiTrioError, ProcessExited
from ..launch import InstanceSpec
from ..lifecycle import StopManner, StopPatience, StopStep, next_step
from ..protocol import State
from ..transport import PipeTransport
from .tail import Tail

__all__ = ["Ending", "Incarnation"]

_log = logging.getLogger("pi_trio.supervisor")

# The pipes end when the last process that holds them does. The whole tree gets SIGKILL as soon as its root
# is gone, so this is only ever waited out for a process that could not be found.
_PIPE_TIMEOUT = 0.5
# What the kernel needs to take a killed tree apart, with a margin for a machine that swaps.
_SWEEP_TIMEOUT = 5.0
# SIGKILL cannot be refused, but a process in an uninterruptible system call dies only after it.
_KILL_TIMEOUT = 10.0


@attrs.frozen
class Ending:
    """How an incarnation ended."""

    status: ExitStatus | None
    """How its process did; ``None`` when it never started, or could not be killed."""
    stderr_tail: bytes = b""
    failure: str | None = None
    """Why it never became ready, in words; ``None`` when it did, or simply died."""


class Incarnation:
    """Owns one process tree, its two pumps, its stdin writer and the client's connection to it.

    It is never cancelled: it is told to stop (:meth:`request_stop`), and every wait of its teardown has a
    deadline. So the teardown is the same code whatever the reason for it is.
    """

    def __init__(
        self,
        *,
        instance_id: str,
        spec: InstanceSpec,
        client: PiClient,
        on_ready: Callable[[State, int], None],
        on_stopping: Callable[[str], None],
    ) -> None:
        self._id = instance_id
        self._spec = spec
        self._client = client
        self._on_ready = on_ready
        self._on_stopping = on_stopping
        self._patience = StopPatience(drain_timeout=spec.drain_timeout, grace_timeout=spec.grace_timeout)
        self._manner: StopManner | None = None
        self._why = ""
        self._stop_asked = trio.Event()
        self._waiting: trio.CancelScope | None = None
        self._failure: str | None = None
        self._tail = Tail()
        self._ready = False

    def request_stop(self, manner: StopManner, why: str) -> None:
        """End it in this manner, or more harshly if it is being ended already. Idempotent."""
        if self._manner is None:
            self._manner, self._why = manner, why
            self._stop_asked.set()
        elif manner > self._manner:
            self._manner = manner
            if self._waiting is not None:
                self._waiting.cancel()

    async def run(self, host: ProcessHost, command: ProcessCommand) -> Ending:
        """Live: returns when the process is gone, its output was read, and its tree is empty."""
        if self._manner is not None:
            return Ending(None, failure="it was stopped before it was started")
        try:
            tree = await host.spawn(command)
        except OSError as error:
            return Ending(None, failure=f"it could not be started: {error}")
        try:  # no checkpoint since the spawn: the tree has an owner
            return await self._own(tree)
        finally:
            tree.kill_tree()
            tree.close()

    async def _own(self, tree: ProcessTree) -> Ending:
        transport = PipeTransport(tree.stdin, tree.stdout, max_record_bytes=self._spec.max_record_bytes)
        self._client.attach(transport)
        pumps_done = trio.Event()

        async def pump() -> None:
            async with trio.open_nursery() as pumps:
                pumps.start_soon(self._client.serve, transport)
                pumps.start_soon(self._pump_stderr, tree)
            pumps_done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump)
            nursery.start_soon(transport.run_sender)
            nursery.start_soon(self._become_ready, tree.pid)
            status = await self._until_exit(tree, transport)
            tree.kill_tree()
            self._client.drain()
            with trio.move_on_after(_PIPE_TIMEOUT):
                await pumps_done.wait()
            # What was written has been read. Nobody waits longer for an answer that cannot come.
            tail = self._tail.get()
            self._client.detach(
                lambda: (
                    ProcessExited(instance_id=self._id, status=status, stderr_tail=tail)
                    if self._manner is None
                    else ConnectionClosed(f"{self._id} {self._why}")
                )
            )
            nursery.cancel_scope.cancel()
        with trio.move_on_after(_SWEEP_TIMEOUT) as sweep:
            await tree.wait_empty()
        if sweep.cancelled_caught:
            _log.error("%s: processes of its tree are left %g s after SIGKILL", self._id, _SWEEP_TIMEOUT)
        return Ending(status, tail, self._failure)

    async def _pump_stderr(self, tree: ProcessTree) -> None:
        while data := await tree.stderr.receive_some():
            self._tail.add(data)

    async def _become_ready(self, pid: int) -> None:
        try:
            with trio.move_on_after(self._spec.start_timeout) as patience:
                state = await self._client.get_state(timeout=None)
                self._ready = True
                self._on_ready(state, pid)
        except ConnectionClosed:
            return  # it died, or was stopped, before it answered: that is being dealt with
        except PiTrioError as error:
            self._fail(f"it answered its first request wrongly: {error}")
        if patience.cancelled_caught:
            self._fail(f"it did not answer within {self._spec.start_timeout:g} s (start_timeout)")

    def _fail(self, failure: str) -> None:
        self._failure = failure
        self.request_stop(StopManner.PROMPT, "never became ready")

    async def _until_exit(self, tree: ProcessTree, transport: PipeTransport) -> ExitStatus | None:
        """Wait for the process to end, and make it end when that is asked for."""
        status: ExitStatus | None = None

        async def watch() -> None:
            nonlocal status
            status = await tree.wait_exit()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await self._stop_asked.wait()
            self._on_stopping(self._why)
            self._client.refuse(lambda: ConnectionClosed(f"{self._id} {self._why}"))
            await self._escalate(tree, transport)
            nursery.cancel_scope.cancel()
        return status

    async def _escalate(self, tree: ProcessTree, transport: PipeTransport) -> None:
        assert self._manner is not None
        taken: StopStep | None = None
        while (step := next_step(self._manner, taken)) is not None:
            if step is StopStep.CLOSE_STDIN:
                transport.close_sending()
            elif step is StopStep.TERMINATE:
                tree.send_signal(Signal.TERM)
                tree.send_signal(Signal.CONT)  # a stopped process would not see the first
            else:
                tree.kill_tree()
            taken = step
            # A harsher request that came while the last step was waited out is seen by next_step.
            with trio.move_on_after(self._patience.after(step)) as self._waiting:
                if step is StopStep.KILL:
                    await trio.sleep(_KILL_TIMEOUT)
                    _log.error("%s: pid %d is still there %g s after SIGKILL", self._id, tree.pid, _KILL_TIMEOUT)
                    return
                await trio.sleep_forever()
