"""Takes the steps of a plan, as a user's program would, and takes down what it does and sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs
import orjson
import trio

from ..client import PiClient
from ..errors import InstanceNotFound
from ..launch import InstanceSpec, PiInstall
from ..lifecycle import InstanceEvent, InstanceState, Registered, StopManner
from ..process import Interruption
from ..registry import EventFeed
from ..runtime import Runtime
from ..supervisor import ChildSpec, Instance
from .clock import sleep
from .discovering import Discovering, tell
from .invariants import recovery_time
from .leasing import Leasing
from .listening import hear, hear_run, read_records
from .outcomes import BodyRaised, how_it_ended
from .plans import (
    Acquire,
    Advance,
    Ask,
    Cancel,
    Connect,
    CutOff,
    Discover,
    Drop,
    Exec,
    FailDiscovery,
    Interrupt,
    Kill,
    KillKeeper,
    LeaveDiscovery,
    LeaveTree,
    Listen,
    OpenTree,
    Plan,
    Prompt,
    Report,
    Request,
    RunSomewhere,
    Spawn,
    Stall,
    Step,
    Stop,
    Subscribe,
    Tell,
    Unregister,
    Unsubscribe,
)
from .remotes import Remotes
from .schedule import Checkpoints
from .taps import tap
from .trace import (
    CallEnded,
    CallStarted,
    FaultsOff,
    Interrupted,
    Listened,
    LogsRead,
    Record,
    RequestEnded,
    RequestStarted,
    ScopeEntered,
    ScopeExited,
    ScopeLeft,
    SomewhereAsked,
    Specified,
    StopAsked,
    Subscribed,
    SubscriberItem,
    TreeOpened,
    Unsubscribed,
)
from .world import World

__all__ = ["Driver"]

_NEVER_BEHIND = 1 << 40
_SIGINT = 2
# What a step is waited for at most, in seconds: a request without a time-out may never have an answer.
_PATIENCE = 20.0
# A run that ends early looks so often whether its Pi is idle yet; it may have to find out that there is none.
_RUN_SECONDS = 0.02
# How often it is looked whether everything has come right.
_LOOK_SECONDS = 1.0
_TARGETS = frozenset({InstanceState.RUNNING, InstanceState.STOPPED, InstanceState.FAILED})
# How many times everybody has had a turn when all that was to follow from the end of a runtime has followed.
_TURNS = 100


@attrs.define(eq=False)
class _Reader:
    """A subscriber."""

    scope: trio.CancelScope
    stalled_until: float = 0.0


@attrs.define(eq=False)
class _Tree:
    """A supervision tree that somebody is in."""

    leave: trio.Event
    raises: bool = False


class Driver:
    """Takes the steps of one plan, in one runtime."""

    def __init__(
        self,
        plan: Plan,
        world: World,
        record: Record,
        checkpoints: Checkpoints,
        nursery: trio.Nursery,
        numbers: dict[str, int],
        pi_path: str,
    ) -> None:
        self._plan = plan
        self._world = world
        self._record = record
        self._checkpoints = checkpoints
        self._nursery = nursery  # around the runtime: what it holds sees the runtime's end
        self._numbers = numbers
        pi = PiInstall(path=pi_path, version=plan.pi, origin="named", node=None)  # type: ignore[arg-type]
        self._specs = [attrs.evolve(spec, pi=pi) if spec.pi is None else spec for spec in plan.specs]
        self.interruption = Interruption()
        """What somebody at the program's terminal has said."""
        self._runtime: Runtime
        self._leasing: Leasing
        self._discovering: Discovering
        self._remotes: Remotes
        self._trees_nursery: trio.Nursery
        self._trees: list[_Tree] = []
        self._readers: list[_Reader] = []
        self._scopes: list[trio.CancelScope] = []
        self._calls = 0
        self._listeners = 0
        self._requests = 0
        self._active = 0
        self._muted = False

    def enter(self, runtime: Runtime) -> None:
        """The runtime is open."""
        self._runtime = runtime
        names = tap(runtime, self._record, self._published, reports=any(type(s) is Acquire for s in self._plan.steps))
        self._remotes = Remotes(self._plan.seed, self._note, self._nursery.start_soon, lambda: self._world.faults)
        self._leasing = Leasing(runtime.registry, self._note, names)
        self._discovering = Discovering(runtime.registry, self._note, self._remotes.open_member)
        self._subscribe(_NEVER_BEHIND)

    def start_soon(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task around the runtime."""
        self._nursery.start_soon(task, *args)

    # --- the body, and its end -----------------------------------------------------------------------------

    async def body(self, around: trio.CancelScope) -> None:
        """Take the steps, and leave as the plan says."""
        left: BaseException | None = None
        async with trio.open_nursery() as self._trees_nursery:
            try:
                for step in self._plan.steps:
                    await _TAKE[type(step)](self, step)
                await self._come_to_rest()
                await self._leave(around)
            except BaseException as error:
                left = error
                self._trees_nursery.cancel_scope.cancel()
            for tree in self._trees:
                tree.leave.set()
            self._discovering.leave()
        if left is not None:
            raise left

    async def _come_to_rest(self) -> None:
        """No fault acts any more: wait until everything has come right, or had the time for it."""
        if not self._plan.ending.settle:
            return
        self._world.faults = lambda *_: ()
        self._record(FaultsOff(trio.current_time()))
        family = max((len(step.specs) for step in self._plan.steps if isinstance(step, OpenTree)), default=1)
        slowest = max((recovery_time(spec) for spec in self._plan.specs), default=0.0)
        deadline = trio.current_time() + slowest * family + 0.001
        while (now := trio.current_time()) < deadline:
            await sleep(min(_LOOK_SECONDS, deadline - now))
            if all(instance.state in _TARGETS for instance in self._runtime.list()):
                break

    async def _leave(self, around: trio.CancelScope) -> None:
        how = self._plan.ending.how
        if how == "cancel":
            around.cancel()
            await trio.lowlevel.checkpoint()
        elif how == "raise":
            raise BodyRaised
        elif how == "interrupt":
            raise KeyboardInterrupt

    async def finish(self) -> None:
        """The runtime is over: whatever was under way has to be, too."""
        self._remotes.close()
        for seconds in (0.0, _RUN_SECONDS):
            if self._active:
                await sleep(seconds)
                for _ in range(_TURNS):
                    await trio.lowlevel.checkpoint()
        self._muted = True  # what is cancelled now had no outcome
        for scope in self._scopes:
            scope.cancel()

    def read_logs(self) -> None:
        """What is left of the output of every instance."""
        for instance in self._runtime.list():
            # That there is nothing is to be seen, too.
            found: dict[tuple[int, str], list[str]] = {(instance.status().incarnation, "stdout"): []}
            for line in instance.logs():
                found.setdefault((line.incarnation, line.stream), []).append(line.text)
            for (incarnation, stream), lines in found.items():
                now = trio.current_time()
                self._record(LogsRead(now, instance.id, incarnation, stream, tuple(lines)))

    # --- what is done in the background ----------------------------------------------------------------------

    async def _do(self, work: Callable[[], Awaitable[None]], *, wait: bool, cancel_at: int | None) -> None:
        scope = trio.CancelScope()
        self._scopes.append(scope)
        if wait:
            scope.deadline = trio.current_time() + _PATIENCE

        async def run() -> None:
            self._active += 1
            with scope:
                if cancel_at is not None:
                    self._checkpoints.cancel_at(scope, cancel_at)
                await work()
            self._active -= 1

        if wait:
            await run()
        else:
            self._nursery.start_soon(run)

    def _call(self, what: str, instance: str, work: Callable[[], Awaitable[str]]) -> Callable[[], Awaitable[None]]:
        """``work``, with its beginning and end taken down."""

        self._calls += 1
        number = self._calls

        async def call() -> None:
            self._record(CallStarted(trio.current_time(), number, what, instance))

            def ended(outcome: str, detail: str, error: object = None) -> None:
                about = getattr(error, "instance_id", "")
                self._note(CallEnded(trio.current_time(), number, outcome, detail, *_facts(error), about))

            await self._conclude(work, ended)

        return call

    async def _conclude(self, work: Callable[[], Awaitable[str]], ended: Callable[..., None]) -> None:
        try:
            detail = await work()
        except trio.Cancelled:
            ended("cancelled", "")
            raise
        except Exception as error:
            ended(how_it_ended(error), str(getattr(error, "error", error)), error)
        else:
            ended("ok", detail)

    def _note(self, event: Any) -> None:
        if not self._muted:
            self._record(event)

    # --- steps -----------------------------------------------------------------------------------------------

    def _spec(self, number: int) -> InstanceSpec:
        return self._specs[number % len(self._specs)]

    def _name(self, prefix: str) -> str:
        name = f"{prefix}{len(self._numbers)}"
        self._numbers[name] = len(self._numbers)
        return name

    def _instance(self, target: int) -> Instance | None:
        names = list(self._numbers)
        with suppress(InstanceNotFound):
            if names:
                return self._runtime.get(names[target % len(names)])
        return None

    async def _spawn(self, step: Spawn) -> None:
        name, spec = self._name("i"), self._spec(step.spec)

        async def spawn() -> str:
            self._record(Specified(trio.current_time(), name, spec))
            await self._runtime.spawn(spec, id=name)
            return ""

        await self._do(self._call("spawn", name, spawn), wait=step.wait, cancel_at=step.cancel_at)

    async def _open_tree(self, step: OpenTree) -> None:
        scope = f"tree {len(self._trees)}"
        children = [ChildSpec(self._name("c"), self._spec(number)) for number in step.specs]
        state = _Tree(trio.Event())
        self._trees.append(state)
        entered = trio.Event()

        async def stay() -> str:
            now = trio.current_time()
            self._record(TreeOpened(now, scope, step.strategy, step.intensity, step.period, _ids(children)))
            for child in children:
                self._record(Specified(now, child.id, child.spec, scope))
            how = "returned"
            try:
                async with self._runtime.open_supervisor(
                    children, strategy=step.strategy, intensity=step.intensity, period=step.period
                ):
                    self._record(ScopeEntered(trio.current_time(), scope))
                    entered.set()
                    await self._stay(scope, state)
            except BaseException as error:
                how = how_it_ended(error)
                raise
            finally:
                self._record(ScopeExited(trio.current_time(), scope, how))
                entered.set()
            return ""

        async def run() -> None:
            own = trio.CancelScope()
            self._scopes.append(own)
            with own:
                if step.cancel_at is not None:
                    self._checkpoints.cancel_at(own, step.cancel_at)
                await self._call("open_supervisor", children[0].id, stay)()
            entered.set()

        self._trees_nursery.start_soon(run)
        if step.wait:
            await entered.wait()

    async def _stay(self, scope: str, tree: _Tree) -> None:
        how = "returned"
        try:
            await tree.leave.wait()
            if tree.raises:
                raise BodyRaised
        except BaseException as error:
            how = how_it_ended(error)
            raise
        finally:
            self._record(ScopeLeft(trio.current_time(), scope, how))

    async def _leave_tree(self, step: LeaveTree) -> None:
        if self._trees:
            tree = self._trees[step.tree % len(self._trees)]
            tree.raises = step.raises
            tree.leave.set()

    async def _prompt(self, step: Prompt) -> None:
        found = self._whom_to_prompt(step)
        if found is None:
            return
        name, client, connection = found
        call = self._calls + 1
        mark = f"<p{call}>"

        async def run() -> str:
            async with client.run(f"Say {mark} with a tool" if step.tool else f"Say {mark}") as run:
                if step.records is None:
                    heard = await hear_run(run, call, name, mark, connection)
                    self._note(heard)
                    return heard.reply
                left = step.records
                async for _ in run.records():
                    left -= 1
                    if left <= 0:
                        break
                return "left"

        what = "run" if connection is None else "run over a connection"
        await self._do(self._call(what, name, run), wait=step.wait, cancel_at=step.cancel_at)

    def _whom_to_prompt(self, step: Prompt) -> tuple[str, PiClient, int | None] | None:
        """The instance, a client for it, and the connection that this has."""
        if step.connection is not None:
            remote = self._remotes.client(step.connection)
            return None if remote is None else (remote[1], remote[2], remote[0])
        instance = self._instance(step.target)
        return None if instance is None else (instance.id, instance.client, None)

    async def _request(self, step: Request) -> None:
        instance = self._instance(step.target)
        if instance is None:
            return
        self._requests += 1
        number, mark = self._requests, f"<q{self._requests}>"
        params: dict[str, object] = {
            "mark": mark,
            **({"command": f"sleep 0.2; echo '{mark}'"} if step.command == "bash" else {}),
        }
        if step.padding_bytes:
            params["padding"] = "x" * step.padding_bytes

        async def request() -> None:
            self._record(RequestStarted(trio.current_time(), number, instance.id, step.command, mark, step.timeout))

            def ended(outcome: str, detail: str, error: object = None) -> None:
                self._note(RequestEnded(trio.current_time(), number, outcome, detail, *_facts(error)))

            async def ask() -> str:
                data = await instance.client.request(step.command, params, timeout=step.timeout)
                return orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode()

            await self._conclude(ask, ended)

        await self._do(request, wait=step.wait, cancel_at=step.cancel_at)

    async def _connect(self, step: Connect) -> None:
        instance = self._instance(step.target)
        if instance is not None:
            self._remotes.connect(step, instance)

    async def _drop(self, step: Drop) -> None:
        self._remotes.drop(step)

    async def _ask(self, step: Ask) -> None:
        async def ask() -> None:
            await self._remotes.ask(step)

        await self._do(ask, wait=step.wait, cancel_at=step.cancel_at)

    async def _exec(self, step: Exec) -> None:
        instance = self._instance(step.target)
        if instance is None:
            return

        mark = f"<x{self._calls + 1}>"

        async def execute() -> str:
            shell = f"sleep {step.seconds}; echo '{mark}'"
            result = await self._runtime.exec(instance.id, shell, timeout=step.timeout)
            return result.output

        await self._do(self._call("exec", instance.id, execute), wait=step.wait, cancel_at=step.cancel_at)

    async def _acquire(self, step: Acquire) -> None:
        instance = None if step.target is None else self._instance(step.target)
        if step.target is not None and instance is None:
            return
        name = None if instance is None else instance.id

        async def hold() -> str:
            return await self._leasing.hold(step, name)

        await self._do(self._call("acquire", name or "", hold), wait=step.wait, cancel_at=step.cancel_at)

    async def _report(self, step: Report) -> None:
        instance = self._instance(step.target)
        if instance is not None:
            self._leasing.report(step, instance.id)

    async def _unregister(self, step: Unregister) -> None:
        instance = self._instance(step.target)
        if instance is not None:
            self._leasing.unregister(instance.id)

    def _instances(self, targets: tuple[int, ...]) -> list[Instance]:
        found = [self._instance(target) for target in targets]
        return list({each.id: each for each in found if each is not None}.values())

    async def _discover(self, step: Discover) -> None:
        instances = self._instances(step.first.members)

        async def discover() -> None:
            await self._discovering.discover(lambda new: tell(new, step.first, instances))

        self._trees_nursery.start_soon(discover)
        await trio.lowlevel.checkpoint()

    async def _tell(self, step: Tell) -> None:
        self._discovering.tell(step, self._instances(step.members))

    async def _fail_discovery(self, step: FailDiscovery) -> None:
        self._discovering.fail(step.discovery)

    async def _leave_discovery(self, step: LeaveDiscovery) -> None:
        self._discovering.leave(step.discovery)

    async def _cut_off(self, step: CutOff) -> None:
        instance = self._instance(step.target)
        if instance is not None:
            self._remotes.cut_off(step, instance)

    async def _run_somewhere(self, step: RunSomewhere) -> None:
        mark = f"<p{self._calls + 1}>"
        prompt = f"Say {mark} with a tool" if step.tool else f"Say {mark}"
        asked = SomewhereAsked(trio.current_time(), self._calls + 1, step.criteria, step.attempts)
        self._record(asked)
        call = self._call("run somewhere", "", lambda: self._discovering.run(step, prompt))
        await self._do(call, wait=step.wait, cancel_at=step.cancel_at)

    async def _stop(self, step: Stop) -> None:
        instance = self._instance(step.target)
        if instance is None:
            return
        manner = StopManner.FORCE if step.force else StopManner.POLITE

        async def stop() -> str:
            self._record(StopAsked(trio.current_time(), instance.id, manner))
            await instance.stop(force=step.force)
            return ""

        await self._do(self._call("stop", instance.id, stop), wait=step.wait, cancel_at=step.cancel_at)

    async def _kill(self, step: Kill) -> None:
        instance = self._instance(step.target)
        if instance is not None:
            self._world.signal_root(instance.id, step.signal)

    async def _kill_keeper(self, step: KillKeeper) -> None:
        instance = self._instance(step.target)
        if instance is not None:
            self._world.kill_keeper(instance.id)

    async def _take_interrupt(self, _: Interrupt) -> None:
        self.interrupt()

    def interrupt(self) -> None:
        """A Ctrl-C comes."""
        self._record(Interrupted(trio.current_time(), self.interruption.count + 1))
        self.interruption.take(_SIGINT)

    async def _cancel(self, step: Cancel) -> None:
        if step.call < len(self._scopes):
            self._scopes[-1 - step.call].cancel()

    async def _advance(self, step: Advance) -> None:
        await sleep(step.seconds)

    # --- subscribers, and readers of what instances say --------------------------------------------------------

    async def _take_subscribe(self, step: Subscribe) -> None:
        self._subscribe(step.capacity)

    def _subscribe(self, capacity: int) -> None:
        reader = _Reader(trio.CancelScope())
        self._readers.append(reader)
        number = len(self._readers)
        self._record(Subscribed(trio.current_time(), number, capacity))
        self._nursery.start_soon(self._read_feed, number, reader, self._runtime.events(capacity=capacity))

    async def _read_feed(self, number: int, reader: _Reader, feed: EventFeed) -> None:
        how: Any = "closed"
        with feed, reader.scope:
            async for item in feed:
                self._record(SubscriberItem(trio.current_time(), number, item))
                while (now := trio.current_time()) < reader.stalled_until:
                    await sleep(reader.stalled_until - now)
            how = "ended"
        self._record(Unsubscribed(trio.current_time(), number, how))

    async def _stall(self, step: Stall) -> None:
        reader = self._readers[step.subscriber % len(self._readers)]
        reader.stalled_until = trio.current_time() + step.seconds

    async def _unsubscribe(self, step: Unsubscribe) -> None:
        self._readers[step.subscriber % len(self._readers)].scope.cancel()

    async def _listen(self, step: Listen) -> None:
        instance = self._instance(step.target)
        if instance is not None:
            self._listeners += 1
            stream = instance.client.subscribe(capacity=step.capacity)
            self._record(Listened(trio.current_time(), self._listeners, instance.id))
            self._nursery.start_soon(hear, self._record, self._listeners, instance.id, stream, step.pause)

    def _published(self, event: InstanceEvent) -> None:
        if isinstance(event, Registered):
            stream = self._runtime.get(event.instance_id).client.subscribe(capacity=_NEVER_BEHIND)
            self._nursery.start_soon(read_records, self._record, event.instance_id, stream)


def _ids(children: list[ChildSpec]) -> tuple[str, ...]:
    return tuple(child.id for child in children)


def _facts(error: object) -> tuple[Any, bytes]:
    return getattr(error, "status", None), getattr(error, "stderr_tail", b"")


_TAKE: dict[type[Step], Callable[[Driver, Any], Awaitable[None]]] = {
    Acquire: Driver._acquire,
    Advance: Driver._advance,
    Ask: Driver._ask,
    Cancel: Driver._cancel,
    Connect: Driver._connect,
    CutOff: Driver._cut_off,
    Discover: Driver._discover,
    Drop: Driver._drop,
    Exec: Driver._exec,
    FailDiscovery: Driver._fail_discovery,
    Interrupt: Driver._take_interrupt,
    Kill: Driver._kill,
    KillKeeper: Driver._kill_keeper,
    LeaveDiscovery: Driver._leave_discovery,
    LeaveTree: Driver._leave_tree,
    Listen: Driver._listen,
    OpenTree: Driver._open_tree,
    Prompt: Driver._prompt,
    Report: Driver._report,
    Request: Driver._request,
    RunSomewhere: Driver._run_somewhere,
    Spawn: Driver._spawn,
    Stall: Driver._stall,
    Stop: Driver._stop,
    Subscribe: Driver._take_subscribe,
    Tell: Driver._tell,
    Unregister: Driver._unregister,
    Unsubscribe: Driver._unsubscribe,
}
