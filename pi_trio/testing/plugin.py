"""A pytest plugin: ``pytest_plugins = ["pi_trio.testing.plugin"]`` in a ``conftest.py``.

It adds the fixture ``lifecycles`` and the options ``--lifecycles N`` and ``--lifecycle-seconds S``.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from .lifecycles import LifecycleCheck, LifecycleReport, check_lifecycles

__all__ = ["lifecycles", "pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much to test."""
    group = parser.getgroup("pi-trio")
    group.addoption("--lifecycles", type=int, metavar="N", help="run N plans in each test of lifecycles")
    group.addoption("--lifecycle-seconds", type=float, metavar="S", help="run plans for S seconds in each such test")


@pytest.fixture
def lifecycles(request: pytest.FixtureRequest) -> Callable[[LifecycleCheck], LifecycleReport]:
    """:func:`pi_trio.testing.lifecycles.check_lifecycles`, with as many examples as the command line says."""
    examples: int | None = request.config.getoption("--lifecycles")
    seconds: float | None = request.config.getoption("--lifecycle-seconds")

    def check(what: LifecycleCheck) -> LifecycleReport:
        what = what if examples is None else attrs.evolve(what, examples=examples)
        return check_lifecycles(what if seconds is None else attrs.evolve(what, seconds=seconds))

    return check
