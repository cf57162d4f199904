"""How many lifecycles a minute of one processor's time: ``python -m tests.testing.speed``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import attrs

from pi_trio import InstanceSpec
from pi_trio.lifecycle import Exited
from pi_trio.testing.invariants import check_trace
from pi_trio.testing.lifecycles import LifecycleCheck, check_lifecycles
from pi_trio.testing.plans import Advance, Plan, Spawn
from pi_trio.testing.simulation import run_plan
from pi_trio.testing.trace import Published

_AT_ONCE = 32
_BARE = Plan(
    specs=(InstanceSpec(cwd="/work", inherit_env=False, health=None),),
    steps=(*(Spawn(wait=False) for _ in range(_AT_ONCE - 1)), Spawn(), Advance(10.0)),
)


def _bare() -> int:
    """Lives in which nothing happens but their beginning and their end, each checked like all others."""
    lives = 0
    for seed in range(20):
        trace = run_plan(attrs.evolve(_BARE, seed=seed))
        assert check_trace(trace) == []
        lives += sum(isinstance(each.event, Exited) for each in trace.of(Published))
    assert lives == 20 * _AT_ONCE
    return lives


def _without_faults() -> int:
    return check_lifecycles(LifecycleCheck(examples=200, faults=None, max_spawns=12)).lifecycles


def _everything() -> int:
    return check_lifecycles(LifecycleCheck(examples=500, seed=11)).lifecycles


def main() -> None:
    """Measure each."""
    logging.disable()
    measures: dict[str, Callable[[], int]] = {
        "bare lives": _bare,
        "plans without faults": _without_faults,
        "the default plans": _everything,
    }
    for what, run in measures.items():
        started = time.process_time()
        lives = run()
        print(f"{what}: {60 * lives / (time.process_time() - started):,.0f} lifecycles a minute")


if __name__ == "__main__":
    main()
