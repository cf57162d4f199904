"""Putting a runtime's lifecycles to the test: many plans, every promise, and the smallest plan that breaks one."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs
import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis import strategies as st

from ..launch import InstanceSpec
from ..lifecycle import Exited
from ..supervisor import Strategy
from .invariants import INVARIANTS, Invariant, Violation, check_trace
from .plans import Plan
from .plans.strategies import endings, faults, plans, specs, steps
from .plans.themes import themes
from .simulation import run_plan
from .trace import Published, Trace
from .world import Fault

__all__ = ["LifecycleCheck", "LifecycleFailure", "LifecycleReport", "check_lifecycles", "simulated"]

# Hypothesis looks at what it has seen when it makes the next example, which takes longer and longer.
_BATCH = 5

# The garbage of so many runs is collected at a time.
_RUNS_PER_COLLECTION = 10


@attrs.frozen(kw_only=True)
class LifecycleCheck:
    """What is to be tested, and how much."""

    examples: int = 400
    """So many plans, with a few instances each."""
    seconds: float | None = None
    """If given: as many plans as take so long, and ``examples`` does not count."""
    seed: int = 0
    """Another seed gives other plans."""
    specs: Sequence[InstanceSpec] | None = None
    """The specs of the program that is tested: its restart and health policies, and its time-outs. What they say of
    models, folders and the environment does not matter here. By default many different ones are drawn."""
    faults: st.SearchStrategy[Fault] | None = attrs.field(factory=faults)
    """What may go wrong with the simulated Pis; ``None`` for nothing."""
    strategies: Sequence[Strategy] = tuple(Strategy)
    """Of the supervision trees."""
    max_spawns: int = 6
    """At most so many instances are asked for at the beginning of a plan ..."""
    max_steps: int = 10
    """... followed by at most so many steps ..."""
    max_faults: int = 4
    """... and so many faults."""
    checkpoints: int = 30
    """What is cancelled in a step is so within its first checkpoints, so many; 0 for no such cancellation."""
    shrink: bool = True
    """Whether a plan that fails is made smaller, which takes a while."""
    invariants: Sequence[Invariant] = tuple(INVARIANTS.values())
    """What must hold."""

    def plans(self) -> st.SearchStrategy[Plan]:
        """The plans that it runs."""
        return st.one_of(self.subjects())

    def subjects(self) -> tuple[st.SearchStrategy[Plan], ...]:
        """The same, by what they are about: it runs a few of each in turn, so that each has its share."""
        own = None if self.specs is None else st.sampled_from([simulated(spec) for spec in self.specs])
        everything = plans(
            specs=specs() if own is None else own,
            steps=steps(checkpoints=self.checkpoints, strategies=self.strategies),
            endings=endings(checkpoints=3 * self.checkpoints),
            faults=self.faults,
            max_spawns=self.max_spawns,
            max_steps=self.max_steps,
            max_faults=self.max_faults,
        )
        if self.faults is None:
            return (everything,)
        return (everything, *themes(own, checkpoints=self.checkpoints, strategies=self.strategies))


@attrs.frozen
class LifecycleReport:
    """What was tested, and came out well."""

    plans: int
    lifecycles: int
    """Processes that were started, and brought or seen to their end: an instance that is restarted has several, one
    whose spawn failed none."""
    seconds: float
    """How long it took."""

    def __str__(self) -> str:
        a_minute = 60 * self.lifecycles / self.seconds if self.seconds else 0.0
        return f"{self.plans} plans, {self.lifecycles} lifecycles in {self.seconds:.1f} s ({a_minute:.0f} a minute)"


class LifecycleFailure(AssertionError):
    """A promise was broken. ``plan`` is the smallest plan that was found to break it; the message replays it."""

    def __init__(self, plan: Plan, violations: Sequence[Violation]) -> None:
        self.plan = plan
        self.violations = tuple(violations)
        shown = "\n".join(str(violation) for violation in violations[:5])
        super().__init__(f"{shown}\n\nReplay it with:\n\n{plan.snippet()}")


def simulated(spec: InstanceSpec) -> InstanceSpec:
    """A spec of a real program as the simulated world can have it: no environment, no folder, no Pi of its own."""
    return attrs.evolve(
        spec, cwd="/work", env={}, inherit_env=False, pi=None, session=None, session_id=None, extra_args=()
    )


def check_lifecycles(
    check: LifecycleCheck | None = None, *, progress: Callable[[Plan, Trace], None] | None = None
) -> LifecycleReport:
    """Run plans on a simulated world, and check that every promise holds in each.

    Args:
        check: what is tested; by default 400 plans of everything.
        progress: called with each plan that came out well, and its trace.

    Raises:
        LifecycleFailure: a promise was broken.
    """
    check = LifecycleCheck() if check is None else check
    count = _Counter(check, progress)
    drawn = check.subjects()  # made once: a strategy takes longer to make than to draw from
    batch = 0
    with quiet(), _settled():
        while count.wants_more:
            _run_batch(check, drawn[batch % len(drawn)], count, batch)
            batch += 1
    return LifecycleReport(count.plans, count.lifecycles, time.perf_counter() - count.started)


@contextmanager
def quiet() -> Iterator[None]:
    """What goes wrong on purpose is not worth a line each."""
    logger = logging.getLogger("pi_trio")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _settled() -> Iterator[None]:
    """The garbage collector never looks at what is there already, nor at anything in the middle of a run.

    What it would finalize there would depend on what has run before.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


class _Counter:
    """Runs plans until there have been enough."""

    def __init__(self, check: LifecycleCheck, progress: Callable[[Plan, Trace], None] | None) -> None:
        self._check = check
        self._progress = progress
        self.started = time.perf_counter()
        self.plans = 0
        self.lifecycles = 0
        self.failed = False
        self._runs = 0

    @property
    def wants_more(self) -> bool:
        """Whether another plan is to be run."""
        if self._check.seconds is None or not self.plans:
            return self.plans < self._check.examples
        return time.perf_counter() - self.started < self._check.seconds

    def run(self, plan: Plan) -> None:
        """Run one plan, unless there have been enough. One that fails is made smaller whatever the time is."""
        if not self.failed and not self.wants_more:
            return
        self._runs += 1
        if self._runs % _RUNS_PER_COLLECTION == 0:
            gc.collect()
        trace = run_plan(plan)
        violations = check_trace(trace, self._check.invariants)
        if violations:
            self.failed = True
            raise LifecycleFailure(plan, violations)
        if not self.failed:
            self.plans += 1
            self.lifecycles += sum(isinstance(each.event, Exited) for each in trace.of(Published))
            if self._progress is not None:
                self._progress(plan, trace)


def _run_batch(check: LifecycleCheck, drawn: st.SearchStrategy[Plan], count: _Counter, batch: int) -> None:
    settings = hypothesis.settings(
        max_examples=_BATCH if check.seconds is not None else min(_BATCH, check.examples - count.plans),
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink] if check.shrink else [Phase.generate],
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )

    @hypothesis.seed(check.seed * 1_000_003 + batch)
    @settings
    @hypothesis.given(drawn)
    def run(plan: Plan) -> None:
        # Without this, the first two of each batch would be the same: the simplest of all.
        hypothesis.assume(plan.seed)
        count.run(plan)

    run()
