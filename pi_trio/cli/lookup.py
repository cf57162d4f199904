"""``pitrio discover`` and ``pitrio select``, as the command line says them."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import click

from ..abc import Discovery
from ..lifecycle import Health
from ..registry import Criteria
from .discover import discover_command
from .exits import EPILOG, run_async
from .select import STRATEGIES, Wish, make_strategy, select_command
from .sources import with_sources

__all__ = ["discover", "select"]


_TIMEOUT = click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds that a source has to tell what there is, and then each instance to answer.",
)


@click.command(epilog=EPILOG)
@with_sources
@_TIMEOUT
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON, and no table.")
@click.option("--watch", is_flag=True, help="Go on, and show what changes, until Ctrl-C.")
def discover(discoveries: tuple[Discovery, ...], timeout: float, as_json: bool, watch: bool) -> None:
    """Show which instances there are at each URL, and in each source, and how they are.

    Each is asked once. It counts as unhealthy when it does not answer.
    """
    sys.exit(run_async(partial(discover_command, discoveries, timeout=timeout, as_json=as_json, watch=watch)))


@click.command(epilog=EPILOG)
@with_sources
@_TIMEOUT
@click.option("--provider", help="It must have this provider.")
@click.option("--model", help="It must have this model.")
@click.option("--capability", "capabilities", multiple=True, help="It must have this one; may be given again.")
@click.option("--region", help="It must be in this region.")
@click.option("--tag", "tags", multiple=True, help="It must have this tag; may be given again.")
@click.option("--exclude", multiple=True, metavar="ID", help="It must not be this one; may be given again.")
@click.option("--min-free", type=click.IntRange(1), default=1, show_default=True, help="Room that it must have.")
@click.option(
    "--health",
    type=click.Choice([each.value for each in Health]),
    multiple=True,
    help="It must be so, or so; may be given again.",
    show_default="all but unhealthy",
)
@click.option("--strategy", type=click.Choice(STRATEGIES), default=STRATEGIES[0], show_default=True)
@click.option("--key", help="For sticky: the same instance for the same key.")
@click.option("--seed", type=int, help="For random and two-choices: the same choice again.")
@click.option("--prefer", multiple=True, metavar="CAPABILITY", help="For capability-match; may be given again.")
@click.option("--alternatives", type=click.IntRange(0), default=3, show_default=True, help="How many to show.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def select(
    discoveries: tuple[Discovery, ...],
    timeout: float,
    strategy: str,
    key: str | None,
    seed: int | None,
    prefer: tuple[str, ...],
    alternatives: int,
    as_json: bool,
    health: tuple[str, ...],
    **criteria: Any,
) -> None:
    """Show which instance would be taken, why, and what would come next.

    Each is asked once how it is. Nothing is reserved. Leases are kept by the programs that hold them: here none is in
    use.
    """
    if health:
        criteria["health"] = frozenset(map(Health, health))
    try:
        wish = Wish(Criteria(**criteria), make_strategy(strategy, key=key, seed=seed, prefer=prefer), alternatives)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(run_async(partial(select_command, discoveries, wish, timeout=timeout, as_json=as_json)))
