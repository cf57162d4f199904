"""Running a plan: the real runtime, on a simulated world, in one ``trio.run`` on virtual time."""

from __future__ import annotations

import threading
from collections.abc import Collection

import trio

from ..process import current_interruption
from ..registry import Registry
from ..runtime import open_runtime
from .clock import sleep
from .discovering import WATCH
from .driver import Driver
from .model import answer
from .outcomes import how_it_ended
from .plans import Plan
from .schedule import Checkpoints, Watchdog, seeded
from .sim_pi import PI_0_87, PI_1_5, SimPi
from .trace import Counted, Limited, Record, Recorder, ScopeCancelled, ScopeEntered, ScopeExited, ScopeLeft, Trace
from .world import Fault, World, open_world

__all__ = ["PI_PATH", "drive", "run_plan"]

PI_PATH = "/opt/pi/pi"
"""Where the world has its Pi."""

# A plan takes minutes on its clock; whoever is not through after that never will be.
_MAX_SECONDS = 10_000.0
_MAX_READINGS = 400_000


def run_plan(plan: Plan) -> Trace:
    """Run a plan; return everything that happened.

    The runtime, its supervisors, clients and registry are the real ones. There is no real process, no real clock, no
    thread; nothing of the system is read. One plan gives one trace, in whatever process it is run.

    Takes a few milliseconds for each instance. Not to be called from inside of a Trio run.
    """
    recorder = Recorder()
    checkpoints = Checkpoints()
    watchdog = Watchdog(seconds=_MAX_SECONDS, readings=_MAX_READINGS, before_biting=recorder.end)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(watchdog.watch)
        await _simulate(plan, recorder.record, checkpoints)

    with seeded(plan.seed):
        try:
            trio.run(main, clock=watchdog, instruments=[checkpoints] if plan.cancels_at_checkpoints else [])
        except BaseException:
            if not watchdog.bit:
                raise
    return recorder.trace()


async def _simulate(plan: Plan, record: Record, checkpoints: Checkpoints) -> None:
    dialect = PI_0_87 if plan.pi == "0.87.1" else PI_1_5
    programs = {PI_PATH: SimPi(dialect=dialect, script=answer)}
    names: dict[str, int] = {}

    def faults(instance: str, incarnation: int) -> list[Fault]:
        number = names.get(instance, -1)
        return [each.fault for each in plan.afflictions if (each.instance, each.incarnation) == (number, incarnation)]

    async with open_world(seed=plan.seed, record=record, programs=programs, faults=faults, sweeps=plan.sweeps) as world:
        await drive(plan, world, record, checkpoints, names)


async def drive(plan: Plan, world: World, record: Record, checkpoints: Checkpoints, names: dict[str, int]) -> None:
    """Take the steps of a plan in a runtime on this world, simulated or real.

    ``names`` gets the number of each instance in the plan, as soon as it is asked for.
    """
    earlier = frozenset(threading.enumerate())
    _count("before", world, record, earlier)
    async with trio.open_nursery() as nursery:
        driver = Driver(plan, world, record, checkpoints, nursery, names, PI_PATH)
        token = current_interruption.set(driver.interruption if plan.is_interrupted else None)
        try:
            await _run_runtime(plan, world, record, checkpoints, driver)
        finally:
            current_interruption.reset(token)
        await driver.finish()
    driver.read_logs()
    _count("after", world, record, earlier)


async def _run_runtime(plan: Plan, world: World, record: Record, checkpoints: Checkpoints, driver: Driver) -> None:
    how = "returned"
    with trio.CancelScope() as around:
        try:
            async with open_runtime(
                host=world,
                max_instances=plan.max_instances,
                max_starting=plan.max_starting,
                registry=Registry(breaker=plan.breaker, watch=WATCH),
            ) as runtime:
                record(Limited(trio.current_time(), plan.max_instances, plan.max_starting, plan.breaker))
                driver.enter(runtime)
                record(ScopeEntered(trio.current_time(), "runtime"))
                left = "returned"
                try:
                    if plan.ending.cancel_at is not None:
                        checkpoints.cancel_at(around, plan.ending.cancel_at)
                    await driver.body(around)
                except BaseException as error:
                    left = how_it_ended(error)
                    raise
                finally:
                    checkpoints.forget()
                    record(ScopeLeft(trio.current_time(), "runtime", left))
                    for seconds in plan.ending.interrupts:
                        driver.start_soon(_interrupt, seconds, driver)
                if around.cancel_called:  # at the last checkpoint of the body, and it was over all the same
                    record(ScopeCancelled(trio.current_time(), "runtime"))
                if plan.ending.impatient_after is not None:
                    driver.start_soon(_lose_patience, plan.ending.impatient_after, around, record)
        except trio.Cancelled:
            how = "cancelled"
            raise
        except BaseException as error:
            how = how_it_ended(error)
            if how == "cancelled":
                raise
    record(ScopeExited(trio.current_time(), "runtime", how))


async def _lose_patience(seconds: float, around: trio.CancelScope, record: Record) -> None:
    await sleep(seconds)
    record(ScopeCancelled(trio.current_time(), "runtime"))
    around.cancel()


async def _interrupt(seconds: float, driver: Driver) -> None:
    await trio.sleep(seconds)
    driver.interrupt()


def _count(when: str, world: World, record: Record, earlier: Collection[threading.Thread]) -> None:
    record(
        Counted(
            trio.current_time(),
            "before" if when == "before" else "after",
            tasks=trio.lowlevel.current_statistics().tasks_living,
            descriptors=world.open_ends,
            # Those of somebody else may end meanwhile: Trio keeps threads that are done for ten seconds.
            threads=sum(thread not in earlier for thread in threading.enumerate()),
        )
    )
