"""All the mutants: realistic bugs, brought into the real code, to see that the harness catches them.

A mutant is an edit of a module's source, made while that is imported. Nothing of the code is copied here beyond the few
words that are replaced; where those are not found any more, the mutant is stale, and its test fails.
"""

from __future__ import annotations

from . import (
    client,
    connections,
    discoveries,
    incarnation,
    leases,
    lifecycle,
    registry,
    runs,
    runtime,
    supervisor,
    transport,
    tree,
)
from .mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS: tuple[Mutant, ...] = (
    *lifecycle.MUTANTS,
    *incarnation.MUTANTS,
    *supervisor.MUTANTS,
    *tree.MUTANTS,
    *runtime.MUTANTS,
    *client.MUTANTS,
    *runs.MUTANTS,
    *connections.MUTANTS,
    *transport.MUTANTS,
    *registry.MUTANTS,
    *leases.MUTANTS,
    *discoveries.MUTANTS,
)
