"""The real runtime, on the simulated world: thousands of lives in each run of the tests."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
import trio._core._run as trio_run

from pi_trio import Backoff, InstanceSpec, InstanceState, RestartPolicy, RestartType, Strategy
from pi_trio.lifecycle import BreakerPolicy, Exited, HealthPolicy, Ready, StateChanged
from pi_trio.registry import Criteria, RoundRobin
from pi_trio.supervisor import Supervisor
from pi_trio.testing.faults import (
    Crash,
    CrashAtRecord,
    DropAtRecord,
    HangingStart,
    IgnoredSigterm,
    SlowDeath,
    SplitWrites,
)
from pi_trio.testing.invariants import check_trace
from pi_trio.testing.lifecycles import LifecycleCheck, LifecycleFailure, LifecycleReport, check_lifecycles, simulated
from pi_trio.testing.plans import (
    Acquire,
    Advance,
    Affliction,
    Ask,
    Cancel,
    Connect,
    CutOff,
    Discover,
    Drop,
    Ending,
    Kill,
    OpenTree,
    Plan,
    Prompt,
    Report,
    Request,
    RunSomewhere,
    Spawn,
    Step,
    Stop,
    Tell,
    dump_plan,
    load_plan,
)
from pi_trio.testing.simulation import run_plan
from pi_trio.testing.trace import CallEnded, Published, RequestEnded, ScopeExited, Trace

ROOT = Path(__file__).parents[2]
SPEC = InstanceSpec(cwd="/work", inherit_env=False)
# What is left of every spec when a plan has been made smaller.
SIMPLEST = attrs.evolve(
    SPEC,
    start_timeout=1.0,
    request_timeout=0.5,
    drain_timeout=0.0,
    grace_timeout=0.0,
    restart=RestartPolicy(
        type=RestartType.PERMANENT,
        intensity=1,
        period=1.0,
        backoff=Backoff(base=0.1, cap=0.15, jitter=0.0),
        reset_after=0.5,
    ),
    health=None,
)


def test_five_thousand_lives() -> None:
    report = LifecycleReport(0, 0, 0.0)
    seed = 0
    while report.lifecycles < 5000:  # how many instances a plan has is drawn, too
        more = check_lifecycles(LifecycleCheck(examples=100, seed=seed, max_spawns=12))
        report = LifecycleReport(
            report.plans + more.plans, report.lifecycles + more.lifecycles, report.seconds + more.seconds
        )
        seed += 1
    print(report)
    assert report.lifecycles >= 5000


# What the harness found in pi-trio itself. Each was mended; each plan stays.
FOUND: dict[str, Plan] = {
    # A request (or run, or exec) that waited for a Pi that had not been ready yet was not told of its end.
    "the end before the start": Plan(
        specs=(attrs.evolve(SPEC, health=None),), steps=(Spawn(wait=False), Spawn(), Kill(), Prompt(), Spawn())
    ),
    # A child was started again while a temporary one, which had to go down with it, still lived.
    "a temporary child that takes its time": Plan(
        specs=(
            attrs.evolve(SPEC, restart=RestartPolicy(type=RestartType.PERMANENT, backoff=Backoff(base=0.0))),
            attrs.evolve(SPEC, restart=RestartPolicy(type=RestartType.TEMPORARY), grace_timeout=1.0),
        ),
        afflictions=(Affliction(IgnoredSigterm(), instance=1),),
        steps=(OpenTree((0, 1, 0), Strategy.REST_FOR_ONE), Kill(), Advance(5.0)),
    ),
    # The same, where somebody had asked for the end of the other.
    "a child that is being stopped": Plan(
        specs=(attrs.evolve(SPEC, restart=RestartPolicy(type=RestartType.PERMANENT, backoff=Backoff(base=0.0))),),
        steps=(OpenTree((0, 0, 0), Strategy.ONE_FOR_ALL), Stop(1), Kill(), Advance(5.0)),
    ),
    # A false alarm: it had ended by itself, and was found unhealthy before it was gone; its SIGTERM found it gone.
    "unwell on its way out": Plan(
        specs=(
            attrs.evolve(
                SPEC,
                restart=RestartPolicy(type=RestartType.PERMANENT, intensity=0),
                health=HealthPolicy(period=0.5, timeout=0.1, misses=1),
            ),
        ),
        afflictions=(Affliction(SlowDeath(2.0)), Affliction(Crash(0.31, 0))),
        steps=(Spawn(), Advance(3.0)),
        sweeps=False,
    ),
    # A request that waited for one connection after the other had its time-out later than it should.
    "a link that drops, and the next one, too": Plan(
        seed=142232157,
        specs=(SIMPLEST,),
        afflictions=(Affliction(DropAtRecord(record=2, way="out"), incarnation=3),),
        steps=(
            Spawn(),
            Connect(),
            Connect(),
            Advance(0.5),
            *(Ask(timeout=0.5), Ask(timeout=0.5), Advance(0.01), Drop(), Ask(timeout=0.5), Advance(0.3)) * 2,
            Advance(3.0),
        ),
        sweeps=False,
    ),
    # A false alarm: what it was cut off in was all of a record, but for the LF.
    "nothing but the end of a line is missing": Plan(
        seed=1,
        specs=(attrs.evolve(SPEC, health=None),),
        afflictions=(Affliction(SplitWrites()), Affliction(CrashAtRecord(record=35, how=0, written=0.5))),
        steps=(Spawn(), Prompt(), Advance(0.3)),
    ),
    # A false alarm: its time to start was up while it was on its way out, and its SIGTERM found it gone.
    "too late while on its way out": Plan(
        seed=6693,
        specs=(
            attrs.evolve(
                SPEC,
                start_timeout=0.25,
                request_timeout=0.5,
                drain_timeout=0.0,
                grace_timeout=0.05,
                restart=RestartPolicy(
                    type=RestartType.PERMANENT,
                    intensity=0,
                    period=1.0,
                    backoff=Backoff(base=0.0, cap=0.15, jitter=0.0),
                    reset_after=0.0,
                ),
                health=None,
            ),
        ),
        steps=(Spawn(wait=False), Spawn(), Kill(), Spawn()),
        sweeps=False,
    ),
    # A lease that was lost with its instance was told to that instance's breaker as a success.
    "a lost lease is no success": Plan(
        specs=(SPEC,),
        steps=(Spawn(), Acquire(target=0, seconds=5.0), Advance(0.1), Report(), Kill(), Advance(1.0)),
        breaker=BreakerPolicy(failures=2),
    ),
    # Who waited for a lease got the place on the instance that had just failed once too often.
    "a place on what has just failed": Plan(
        specs=(SPEC,),
        steps=(Spawn(), Acquire(seconds=0.1, use="blame"), Advance(0.05), Acquire(), Advance(1.0)),
        breaker=BreakerPolicy(failures=1),
    ),
    # (In the simulated world itself:) a reader that was late did not let itself be interrupted.
    "a late reader": Plan(
        seed=372255,
        specs=(
            attrs.evolve(
                SPEC,
                start_timeout=1.0,
                request_timeout=0.5,
                drain_timeout=0.0,
                grace_timeout=0.0,
                health=None,
            ),
        ),
        steps=(
            Spawn(wait=False),
            Spawn(wait=False),
            Spawn(),
            Spawn(wait=False),
            Prompt(records=0, wait=True),
            Request(timeout=0.0),
        ),
        sweeps=False,
    ),
    # Who was given a lease of a member that had come by the same name as another, in the moment that one went, lost it.
    "described anew, with a breaker that is kept": Plan(
        seed=1,
        specs=(SIMPLEST,),
        steps=(
            Spawn(wait=False),
            Spawn(spec=1),
            Discover(first=Tell(members=(0, 1))),
            Acquire(criteria=Criteria(exclude=frozenset(("i0", "i1"))), seconds=0.3),
            Acquire(criteria=Criteria(region="north", exclude=frozenset(("i0", "i1"))), seconds=0.3),
            Advance(seconds=0.1),
            CutOff(seconds=0.4),
            Advance(seconds=0.3),
            RunSomewhere(
                criteria=Criteria(exclude=frozenset(("i0", "i1"))),
                strategy=RoundRobin(),
                acquire_timeout=1.0,
                attempts=5,
            ),
            Advance(seconds=0.01),
            Tell(members=(0, 1), region="north"),
            Advance(seconds=0.5),
        ),
        breaker=BreakerPolicy(failures=1, reset_timeout=0.5, max_reset_timeout=3.0),
        sweeps=False,
    ),
}


@pytest.mark.parametrize("plan", FOUND.values(), ids=FOUND)
def test_what_was_found_once(plan: Plan) -> None:
    assert [str(violation) for violation in check_trace(run_plan(plan))] == []


# --- plans, one by one --------------------------------------------------------------------------------------------


def outcomes(trace: Trace) -> list[str]:
    return [event.outcome for event in trace.events if isinstance(event, CallEnded | RequestEnded)]


def published(trace: Trace, kind: type) -> int:
    return sum(isinstance(each.event, kind) for each in trace.of(Published))


def test_a_plan_does_what_it_says() -> None:
    steps: tuple[Step, ...] = (Spawn(), Prompt(wait=True), Request(wait=True), Kill(), Advance(2.0), Stop(wait=True))
    trace = run_plan(Plan(steps=steps))
    assert outcomes(trace) == ["ok", "ok", "ok", "ok"]
    assert published(trace, Ready) == published(trace, Exited) == 2
    assert check_trace(trace) == []


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        (Ending(), "returned"),
        (Ending(how="raise"), "BodyRaised"),
        (Ending(how="interrupt"), "KeyboardInterrupt"),
        (Ending(how="cancel"), "cancelled"),
        (Ending(cancel_at=1), "cancelled"),
        (Ending(impatient_after=0.0), "cancelled"),
    ],
)
def test_every_way_to_leave(ending: Ending, how: str) -> None:
    trace = run_plan(Plan(steps=(Spawn(), Spawn()), ending=ending))
    assert [event.how for event in trace.of(ScopeExited)] == [how]
    assert check_trace(trace) == []


def test_a_fault_of_one_incarnation() -> None:
    plan = Plan(
        specs=(attrs.evolve(SPEC, start_timeout=1.0, grace_timeout=0.5),),
        afflictions=(Affliction(HangingStart(), instance=1),),
        steps=(Spawn(), Spawn()),
    )
    trace = run_plan(plan)
    assert outcomes(trace) == ["ok", "SpawnError"]
    assert check_trace(trace) == []


def test_a_cancelled_call() -> None:
    trace = run_plan(Plan(steps=(Spawn(wait=False, cancel_at=1), Spawn(wait=False), Advance(0.001), Cancel())))
    assert outcomes(trace) == ["cancelled", "cancelled"]
    assert check_trace(trace) == []


def test_a_tree_whose_budget_is_spent() -> None:
    spec = attrs.evolve(SPEC, restart=RestartPolicy(type=RestartType.PERMANENT))
    plan = Plan(specs=(spec,), steps=(OpenTree(intensity=0), Kill(), Advance(1.0)))
    trace = run_plan(plan)
    assert outcomes(trace) == ["RestartIntensityExceeded"]
    assert check_trace(trace) == []


def test_other_seeds_are_other_interleavings() -> None:
    # All in one instant of the clock: what differs is the order in which tasks run.
    plan = Plan(steps=((Spawn(wait=False),) * 6))
    orders = {
        tuple(each.instance for each in run_plan(attrs.evolve(plan, seed=seed)).of(Published)) for seed in range(100)
    }
    assert len(orders) > 50


def test_a_run_leaves_the_program_as_it_was() -> None:
    scheduler = trio_run._r
    before = random.getstate(), scheduler.getstate(), trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    run_plan(Plan(seed=1, steps=(Spawn(),)))
    assert (random.getstate(), scheduler.getstate(), trio_run._ALLOW_DETERMINISTIC_SCHEDULING) == before


# --- the same seed, the same trace -------------------------------------------------------------------------------


def test_one_plan_has_one_trace_in_every_process() -> None:
    digests = set()
    for hash_seed in ("0", "1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-m", "tests.testing.digests"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1
    assert len(digests.pop().split()) == 30


def test_one_plan_has_one_trace_again_and_again() -> None:
    plan = Plan(
        seed=7,
        afflictions=(Affliction(SplitWrites(), instance=1),),
        steps=(Spawn(wait=False), Spawn(), Prompt(), Prompt(1), Kill(), Advance(1.0)),
    )
    assert len({run_plan(plan).digest() for _ in range(5)}) == 1


# --- the harness itself ------------------------------------------------------------------------------------------


@pytest.fixture
def _hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forever(_: Supervisor) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Supervisor, "wait_stopped", forever)


@pytest.mark.usefixtures("_hangs")
@pytest.mark.parametrize("how", ["return", "raise"])
def test_a_runtime_that_hangs_is_a_violation(how: str) -> None:
    trace = run_plan(Plan(steps=(Spawn(),), ending=Ending(how=how)))  # type: ignore[arg-type]
    assert "nothing_is_left_behind" in {violation.invariant for violation in check_trace(trace)}


def test_a_failure_is_made_small_and_can_be_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    def once_too_often(self: Supervisor, event: object) -> None:
        self._around.publish(event)  # type: ignore[arg-type]
        if isinstance(event, Exited):
            self._around.publish(event)

    monkeypatch.setattr(Supervisor, "_publish", once_too_often)
    with pytest.raises(LifecycleFailure) as caught:
        check_lifecycles(LifecycleCheck(examples=50))
    assert {violation.invariant for violation in caught.value.violations} >= {"one_exit_one_end"}
    assert len(caught.value.plan.steps) == 1
    code = str(caught.value).split("Replay it with:\n\n")[1]
    said: list[str] = []
    exec(code, {"print": lambda violation: said.append(violation.invariant)})
    assert "one_exit_one_end" in said


def test_a_program_s_own_specs() -> None:
    own = InstanceSpec(provider="anthropic", cwd="/home/me", env={"KEY": "x"}, restart=RestartType.PERMANENT)
    seen: list[Trace] = []
    check = LifecycleCheck(examples=5, specs=[own], faults=None)
    report = check_lifecycles(check, progress=lambda _, trace: seen.append(trace))
    assert report.plans == len(seen) == 5
    assert simulated(own) == InstanceSpec(
        provider="anthropic", cwd="/work", inherit_env=False, restart=RestartType.PERMANENT
    )
    assert all(published(trace, StateChanged) for trace in seen)


def test_for_a_time() -> None:
    report = check_lifecycles(LifecycleCheck(seconds=0.3))
    assert report.plans
    assert "lifecycles" in str(report)


pytest_plugins = ["pi_trio.testing.plugin"]


def test_the_fixture(lifecycles: Callable[[LifecycleCheck], LifecycleReport]) -> None:
    assert lifecycles(LifecycleCheck(examples=3)).plans


# --- plans as text -----------------------------------------------------------------------------------------------


def test_a_plan_can_be_saved_and_loaded() -> None:
    plan = Plan(
        seed=3,
        specs=(attrs.evolve(SPEC, restart=RestartType.TEMPORARY, health=None, env={"A": None}),),
        afflictions=(Affliction(HangingStart(), 1, 2),),
        steps=(Spawn(), OpenTree(specs=(0,)), Kill(signal="SIGSTOP")),
        ending=Ending(settle=True),
    )
    assert load_plan(dump_plan(plan)) == plan
    assert load_plan(dump_plan(Plan())) == Plan()


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"is": "Spawn"}', '{"is": "Plan", "wrong": 1}', '{"is": "os"}', "{}", '{"is": "Plan", "steps": [{}]}'],
)
def test_what_is_no_plan(text: str) -> None:
    with pytest.raises(ValueError, match="plan|called|Expecting"):
        load_plan(text)


def test_states_are_seen_by_name() -> None:
    trace = run_plan(Plan(steps=(Spawn(),)))
    states = [each.event.state for each in trace.of(Published) if isinstance(each.event, StateChanged)]
    assert states == [InstanceState.STARTING, InstanceState.RUNNING, InstanceState.STOPPING, InstanceState.STOPPED]
