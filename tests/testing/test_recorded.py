"""The simulation tells the truth: a handful of plans run in it and on the real system, and they agree."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from pi_trio import Backoff, InstanceSpec, RestartPolicy, RestartType, Strategy
from pi_trio.launch import PiInstall
from pi_trio.lifecycle import Exited, Ready, RestartScheduled, StateChanged
from pi_trio.testing.invariants import check_trace
from pi_trio.testing.plans import Advance, Ending, Exec, Kill, OpenTree, Plan, Prompt, Request, Spawn, Stop
from pi_trio.testing.recorded import run_plan_for_real
from pi_trio.testing.simulation import run_plan
from pi_trio.testing.trace import Published, Trace

TEMPORARY = InstanceSpec(
    cwd="/work",
    inherit_env=False,
    ephemeral=True,
    drain_timeout=2.0,
    grace_timeout=3.0,
    restart=RestartType.TEMPORARY,
    health=None,
)
QUICK = Backoff(base=0.05, jitter=0.0)
TRANSIENT = attrs.evolve(TEMPORARY, restart=RestartPolicy(intensity=3, period=60.0, backoff=QUICK))
ONCE = attrs.evolve(TEMPORARY, restart=RestartPolicy(intensity=1, period=60.0, backoff=QUICK))

# Long enough for a real Pi to be gone, on a busy machine. In the simulation it costs nothing.
GONE = Advance(1.0)
# What is asked then waits for the next Pi.
BACK = Request(wait=True, timeout=60.0)

PLANS = {
    "prompts_and_a_polite_end": Plan(
        specs=(TEMPORARY,), steps=(Spawn(), Prompt(wait=True), Prompt(tool=True, wait=True), Exec(wait=True))
    ),
    "stopped_by_force": Plan(specs=(TEMPORARY,), steps=(Spawn(), Stop(force=True, wait=True))),
    "killed_and_restarted": Plan(specs=(TRANSIENT,), steps=(Spawn(), Kill(), GONE, BACK, Prompt(wait=True))),
    "terminated_from_outside": Plan(specs=(TEMPORARY,), steps=(Spawn(), Kill(signal="SIGTERM"), GONE)),
    "killed_too_often": Plan(specs=(ONCE,), steps=(Spawn(), Kill(), GONE, BACK, Kill(), GONE)),
    "cancelled": Plan(specs=(TEMPORARY,), steps=(Spawn(), Spawn()), ending=Ending(how="cancel")),
    "all_for_one": Plan(
        specs=(TRANSIENT,),
        steps=(
            OpenTree(specs=(0, 0), strategy=Strategy.ONE_FOR_ALL),
            Kill(),
            GONE,
            BACK,
            Request(target=1, wait=True, timeout=60.0),
        ),
    ),
}


def story(trace: Trace) -> dict[str, list[str]]:
    """What became of each instance, without times, pids and the like."""
    told: dict[str, list[str]] = {}
    for published in trace.of(Published):
        event = published.event
        if isinstance(event, StateChanged):
            what = f"{event.state.value} {event.incarnation}"
        elif isinstance(event, Exited):
            what = f"exited {event.incarnation} {event.status} {event.requested}"
        elif isinstance(event, Ready | RestartScheduled):
            what = f"{type(event).__name__} {event.incarnation}"
        else:
            continue
        told.setdefault(event.instance_id, []).append(what)
    return told


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_both_worlds_keep_the_promises_and_agree(plan: Plan, pi: PiInstall, tmp_path: Path) -> None:
    plan = attrs.evolve(plan, pi="1.5.2" if pi.version == "1.5.2" else "0.87.1")
    simulated = run_plan(plan)
    assert check_trace(simulated) == []
    real = run_plan_for_real(plan, pi, tmp_path)
    assert check_trace(real) == []
    assert story(real) == story(simulated)
