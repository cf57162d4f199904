"""Bugs in supervision trees."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_HERE = "supervisor.tree"

MUTANTS = (
    _of(
        _HERE,
        "stopped-in-starting-order",
        "the child that was started first is stopped first",
        ("        for child, _ in reversed(self._children):\n", "        for child, _ in self._children:\n"),
    ),
    _of(
        _HERE,
        "stopped-all-at-once",
        "children that depend on each other are stopped side by side",
        (
            "            child.request_stop(manner, why)\n            await child.wait_stopped()\n",
            "            child.request_stop(manner, why)\n",
        ),
    ),
    _of(
        _HERE,
        "rest-takes-all",
        "with rest_for_one, those before a child fall with it, too",
        ("if self.strategy is Strategy.REST_FOR_ONE else 0", "if self.strategy is Strategy.ONE_FOR_ONE else 0"),
    ),
    _of(
        _HERE,
        "all-takes-rest",
        "with one_for_all, only those behind a child fall with it",
        ("order.index(fallen) + 1 if self.strategy is Strategy.REST_FOR_ONE else 0", "order.index(fallen) + 1"),
    ),
    _of(
        _HERE,
        "one-takes-all",
        "with one_for_one, everybody falls with a child",
        ("        if self.strategy is Strategy.ONE_FOR_ONE:\n            return\n", ""),
    ),
    _of(
        _HERE,
        "no-turns",
        "children that fell together do not wait for each other as they rise",
        ("        if self.strategy is Strategy.ONE_FOR_ONE:\n            return True\n", "        return True\n"),
    ),
    _of(
        "runtime.runtime",
        "children-started-backwards",
        "the last child of a tree is started first",
        ("                for child in children:\n", "                for child in reversed(children):\n"),
    ),
    _of(
        _HERE,
        "budget-of-the-child",
        "the child's own budget counts, and not the tree's",
        (
            "policy = attrs.evolve(supervisor.spec.restart, intensity=self.intensity, period=self.period)",
            "policy = supervisor.spec.restart",
        ),
    ),
    _of(
        _HERE,
        "budget-for-each-child",
        "each child has the tree's whole budget",
        ("RestartHistory(self._starts, supervisor.history.in_a_row)", "supervisor.history"),
    ),
    _of(
        _HERE,
        "temporary-taken-up-again",
        "a temporary child that fell with another is started again",
        ("if child.spec.restart.type is RestartType.TEMPORARY:", "if child.state is InstanceState.STARTING:"),
    ),
    _of(
        _HERE,
        "failure-not-told",
        "a spent budget does not end the tree",
        (
            "            self._announce()\n        return decision\n",
            "            self.failure = None\n        return decision\n",
        ),
    ),
    _of(
        "runtime.runtime",
        "next-child-too-early",
        "the next child is started though one before it has fallen meanwhile",
        ("                    await tree.wait_until_all_stand()\n", ""),
    ),
    _of(
        "supervisor.tree",
        "replaced-while-backing-off",
        "a child that is waiting to be started again is replaced, too, and so started once more later",
        (" or child.state is InstanceState.BACKING_OFF:\n                continue", ":\n                continue"),
    ),
    _of(
        "supervisor.tree",
        "budget-counts-those-that-fall",
        "each child that falls with another counts as a restart",
        (
            "                self._rising.add(child)\n                child.request_replacement(why)",
            "                self._rising.add(child)\n                self._starts = (*self._starts, self._starts[-1])\n                child.request_replacement(why)",
        ),
    ),
)
