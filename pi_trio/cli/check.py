"""``pitrio check``: thousands of simulated lives of a program's own specs, and the smallest plan that goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs
import trio
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..errors import SpecError
from ..testing.invariants import Violation, check_trace
from ..testing.plans import Plan, dump_plan, load_plan
from ..testing.simulation import run_plan
from .check_file import Checked
from .exits import FAILED, OK, SETUP, complain

if TYPE_CHECKING:
    from ..testing.trace import Trace

__all__ = ["Amount", "check_command", "replay_command"]

T = TypeVar("T")

_SHOWN = 5


@attrs.frozen
class Amount:
    """How much is checked."""

    examples: int
    seconds: float | None
    seed: int
    faults: bool


async def check_command(checked: Checked, amount: Amount, *, save: Path | None) -> int:
    """The whole command."""
    try:
        from ..testing import lifecycles
    except ModuleNotFoundError as error:
        complain(f"{error.name} is missing, which draws the plans; mend it with: pip install {error.name}")
        return SETUP
    check = lifecycles.LifecycleCheck(
        examples=amount.examples,
        seconds=amount.seconds,
        seed=amount.seed,
        specs=checked.specs,
        strategies=checked.strategies,
    )
    if not amount.faults:
        check = attrs.evolve(check, faults=None)
    try:
        with _progress(amount) as progress:
            report = await _aside(partial(lifecycles.check_lifecycles, check, progress=progress))
    except lifecycles.LifecycleFailure as failure:
        _show(failure.violations)
        _keep(failure.plan, save)
        return FAILED
    Console(highlight=False).print(f"[green]every promise held:[/] {report}", soft_wrap=True)
    return OK


async def replay_command(path: Path) -> int:
    """Run a saved plan once more."""
    try:
        plan = load_plan(path.read_text("utf-8"))
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from error
    violations = await _aside(lambda: check_trace(run_plan(plan)))
    if violations:
        _show(violations)
        return FAILED
    Console(highlight=False).print("[green]every promise held[/] in this plan", soft_wrap=True)
    return OK


async def _aside(work: Callable[[], T]) -> T:
    """Do it in another thread: a Ctrl-C is for this program then, not for a simulated one."""
    from ..testing.lifecycles import quiet

    def quietly() -> T:
        with quiet():
            return work()

    return await trio.to_thread.run_sync(quietly, abandon_on_cancel=True)


@contextmanager
def _progress(amount: Amount) -> Iterator[Callable[[Plan, Trace], None]]:
    """A bar on stderr, where that is a terminal; what is yielded moves it."""
    started = time.monotonic()
    columns = (BarColumn(), TextColumn("{task.fields[plans]} plans"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=amount.seconds or amount.examples, plans=0)
        plans = 0

        def move(_plan: Plan, _trace: Trace) -> None:
            nonlocal plans
            plans += 1
            done = plans if amount.seconds is None else time.monotonic() - started
            bar.update(task, completed=done, plans=plans)

        yield move


def _show(violations: Sequence[Violation]) -> None:
    console = Console(highlight=False)
    for violation in violations[:_SHOWN]:
        console.print(f"[bold red]{violation.invariant}:[/] {escape(violation.says)}", soft_wrap=True)
        for event in violation.events:
            console.print(f"    {escape(repr(event))}", soft_wrap=True)
    if len(violations) > _SHOWN:
        console.print(f"... and {len(violations) - _SHOWN} more", soft_wrap=True)


def _keep(plan: Plan, save: Path | None) -> None:
    """Save the plan where that is wanted and can be done, and show it otherwise."""
    console = Console(highlight=False)
    if save is not None:
        try:
            save.write_text(dump_plan(plan) + "\n", "utf-8")
        except OSError as error:
            complain(f"the plan could not be saved: {error}")
        else:
            console.print(f"\nThe plan is in {escape(str(save))}. See it again with:", soft_wrap=True)
            console.print(f"  pitrio check --replay {escape(str(save))}", soft_wrap=True)
            return
    console.print("\nThe smallest plan that shows it (--save FILE keeps it):\n", soft_wrap=True)
    console.print(escape(plan.snippet()), soft_wrap=True)
