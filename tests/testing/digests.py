"""Prints the digests of some plans, to be compared between processes, hash seeds and versions of Python."""

from __future__ import annotations

import attrs

from pi_trio import InstanceSpec, RestartPolicy, RestartType
from pi_trio.lifecycle import BreakerPolicy, HealthPolicy
from pi_trio.registry import Random
from pi_trio.supervisor import Strategy
from pi_trio.testing.faults import CrashAtRecord, Flood, Grandchild, LateResponses, SplitWrites
from pi_trio.testing.plans import (
    Acquire,
    Advance,
    Affliction,
    Ask,
    Connect,
    Drop,
    Ending,
    Exec,
    Kill,
    Listen,
    OpenTree,
    Plan,
    Prompt,
    Report,
    Request,
    Spawn,
    Stall,
    Stop,
    Subscribe,
)
from pi_trio.testing.simulation import run_plan

_SPEC = InstanceSpec(
    cwd="/work",
    inherit_env=False,
    drain_timeout=0.1,
    grace_timeout=0.5,
    restart=RestartPolicy(type=RestartType.PERMANENT),
    health=HealthPolicy(period=0.5, timeout=0.1, slow_after=0.0005),
)

PLANS = (
    Plan(
        specs=(_SPEC,), steps=(Spawn(wait=False), Spawn(wait=False), Spawn(), Prompt(tool=True), Exec(1), Advance(2.0))
    ),
    Plan(specs=(_SPEC,), steps=(OpenTree((0, 0, 0), Strategy.ONE_FOR_ALL), Kill(1), Advance(3.0), Stop(2, force=True))),
    Plan(
        specs=(_SPEC,),
        afflictions=(
            Affliction(CrashAtRecord(5)),
            Affliction(LateResponses(0.3), incarnation=2),
            Affliction(Grandchild(), instance=1),
            Affliction(SplitWrites(3), instance=1),
        ),
        steps=(Spawn(wait=False), Spawn(), Prompt(), Request(1), Subscribe(2), Stall(1, 2.0), Advance(5.0)),
    ),
    Plan(
        specs=(_SPEC,),
        afflictions=(Affliction(Flood(stream="stderr", period=1.0)),),
        steps=(Spawn(wait=False, cancel_at=9), Spawn(wait=False), Advance(1.0), Kill(1, "SIGSTOP")),
        ending=Ending(how="raise", settle=True),
        pi="1.5.2",
    ),
    Plan(
        specs=(attrs.evolve(_SPEC, max_concurrent=3),),
        steps=(
            Spawn(),
            Connect(),
            Connect(),
            Listen(capacity=1),
            *(Acquire(seconds=2.0) for _ in range(5)),
            Acquire(use="blame", seconds=0.1, strategy=Random(3)),
            Prompt(),
            Ask(),
            Ask(1),
            Advance(0.3),
            Drop(),
            Ask(),
            Report(),
            Advance(0.5),
            Kill(),
            Advance(1.0),
        ),
        ending=Ending(interrupts=(0.0, 0.01, 0.02)),
        breaker=BreakerPolicy(failures=1, reset_timeout=0.5),
    ),
)


def main() -> None:
    for plan in PLANS:
        for seed in range(6):
            print(run_plan(attrs.evolve(plan, seed=seed)).digest())


if __name__ == "__main__":
    main()
