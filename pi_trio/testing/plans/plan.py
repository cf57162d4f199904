"""A plan: everything that one simulated run depends on, as one frozen value."""

from __future__ import annotations

from typing import Literal

import attrs

from ...launch import InstanceSpec
from ...lifecycle import BreakerPolicy
from ..world import Fault
from .code import as_code
from .steps import Ending, Interrupt, Step

__all__ = ["Affliction", "Plan"]


@attrs.frozen
class Affliction:
    """Something is wrong with one incarnation of one instance."""

    fault: Fault
    instance: int = 0
    """The number of the instance, in the order in which the plan asks for them."""
    incarnation: int = 1
    """For a fault of connections: which link of each."""


_SPEC = InstanceSpec(cwd="/work", inherit_env=False)


@attrs.frozen(repr=False)
class Plan:
    """What is run: ``run_plan(plan)`` gives the same trace every time.

    Its ``repr`` is Python code that makes it again, with what has its default left out.
    """

    seed: int = 0
    """Where every latency comes from, every jitter, and the order in which tasks run."""
    specs: tuple[InstanceSpec, ...] = (_SPEC,)
    """What the steps spawn. The world has no environment and no folders: give ``cwd`` an absolute path."""
    afflictions: tuple[Affliction, ...] = ()
    steps: tuple[Step, ...] = ()
    ending: Ending = attrs.field(factory=Ending)
    pi: Literal["0.87.1", "1.5.2"] = "0.87.1"
    """Which Pi the simulated one is like."""
    max_instances: int = 64
    max_starting: int = 4
    breaker: BreakerPolicy = attrs.field(factory=BreakerPolicy)
    """Of the instances, in the registry."""
    sweeps: bool = True
    """Whether what is left of a tree is killed as soon as its root has ended, as by the keeper host, or when the runtime
    says so, as by the direct host."""

    def __repr__(self) -> str:
        return as_code(self)

    @property
    def cancels_at_checkpoints(self) -> bool:
        """Whether anything of it is cancelled at some checkpoint."""
        points = [self.ending.cancel_at, *(getattr(step, "cancel_at", None) for step in self.steps)]
        return any(point is not None for point in points)

    @property
    def is_interrupted(self) -> bool:
        """Whether there is a Ctrl-C in it."""
        return bool(self.ending.interrupts) or any(isinstance(step, Interrupt) for step in self.steps)

    def snippet(self) -> str:
        """A short program that replays it."""
        return _SNIPPET.format(plan=as_code(self, indent=0))


_SNIPPET = """\
from pi_trio import *
from pi_trio.abc import *
from pi_trio.lifecycle import *
from pi_trio.registry import *
from pi_trio.supervisor import Strategy
from pi_trio.testing.faults import *
from pi_trio.testing.invariants import check_trace
from pi_trio.testing.plans import *
from pi_trio.testing.simulation import run_plan

plan = {plan}
for violation in check_trace(run_plan(plan)):
    print(violation)
"""
