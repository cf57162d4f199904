"""What makes selecting quick: for each criteria in use, the instances that match, kept with every event."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from itertools import islice

import attrs

from ...errors import NoMatchingInstance
from ..table import Entry
from .criteria import Criteria, emptied_by
from .strategies import Strategy
from .turns import Turns
from .views import View

__all__ = ["Index", "Selection"]

# Each pool is looked at with every event, so they must be few. What is forgotten is made again when it is asked for,
# in some ten microseconds an instance; whose turn it is (`Turns`) is not forgotten.
_POOLS = 32
_VIEWS = 16


@attrs.frozen
class Selection:
    """Which instance was selected, why, and what else there was."""

    entry: Entry
    """The instance, as it was when it was selected."""
    why: str
    alternatives: tuple[str, ...]
    """The ids that come next, the second choice first."""
    matching: int
    """How many instances match in all, excluded ones among them."""

    @property
    def instance_id(self) -> str:
        """Which."""
        return self.entry.instance_id


class _Pool:
    """The instances that match some criteria now."""

    def __init__(self, criteria: Criteria, entries: Mapping[str, Entry], turns: Turns) -> None:
        self.criteria = criteria
        self._turns = turns
        self.entries = {name: entry for name, entry in entries.items() if criteria.matches(entry)}
        self._views: OrderedDict[Hashable, View] = OrderedDict()

    def view(self, strategy: Strategy) -> View:
        key = strategy.view_key
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = strategy.make_view(self._turns)
            for entry in self.entries.values():
                view.add(entry)
            if len(self._views) > _VIEWS:
                self._views.popitem(last=False)
        else:
            self._views.move_to_end(key)
        return view

    def update(self, entry: Entry) -> None:
        name = entry.instance_id
        if self.criteria.matches(entry):
            known = name in self.entries
            self.entries[name] = entry
            for view in self._views.values():
                if known:
                    view.change(entry)
                else:
                    view.add(entry)
        else:
            self.discard(name)

    def discard(self, name: str) -> None:
        if self.entries.pop(name, None) is not None:
            for view in self._views.values():
                view.remove(name)


class Index:
    """Selects among the entries of a table, of whose every change it has to be told."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._pools: OrderedDict[Hashable, _Pool] = OrderedDict()
        self._turns = Turns()
        for name in entries:
            self._turns.join(name)

    def changed(self, name: str, entry: Entry | None) -> None:
        """The instance's entry is this now; or there is none any more."""
        if entry is None:
            for pool in self._pools.values():
                pool.discard(name)
            self._turns.leave(name)
        else:
            self._turns.join(name)
            for pool in self._pools.values():
                pool.update(entry)

    def _pool(self, criteria: Criteria) -> _Pool:
        pool = self._pools.get(criteria.lasting)
        if pool is None:
            pool = self._pools[criteria.lasting] = _Pool(criteria, self._entries, self._turns)
            if len(self._pools) > _POOLS:
                self._pools.popitem(last=False)
        else:
            self._pools.move_to_end(criteria.lasting)
        return pool

    def first(self, criteria: Criteria, strategy: Strategy) -> Entry | None:
        """The one to take; ``None`` when nobody matches. The strategy notes that it was taken."""
        pool = self._pool(criteria)
        view = pool.view(strategy)
        for name in strategy.order(view, pool.entries):
            if name not in criteria.exclude:
                strategy.chosen(view, name)
                return pool.entries[name]
        return None

    def select(self, criteria: Criteria, strategy: Strategy, *, alternatives: int) -> Selection:
        """The one to take, and so many of those that come next. The strategy notes that it was taken.

        Raises:
            NoMatchingInstance: nobody matches; it says which criterion was too much.
        """
        pool = self._pool(criteria)
        view = pool.view(strategy)
        order = (name for name in strategy.order(view, pool.entries) if name not in criteria.exclude)
        ids = list(islice(order, 1 + alternatives))
        if not ids:
            raise self.nobody(criteria)
        strategy.chosen(view, ids[0])
        entry = pool.entries[ids[0]]
        return Selection(entry, strategy.why(entry), tuple(ids[1:]), len(pool.entries))

    def nobody(self, criteria: Criteria) -> NoMatchingInstance:
        """Why there is nobody."""
        criterion, passed = emptied_by(criteria, self._entries.values())
        return NoMatchingInstance(criterion, passed=passed)

    def any_fits(self, criteria: Criteria) -> bool:
        """Whether there is anybody who might match some day."""
        return any(
            criteria.fits(entry) and entry.instance_id not in criteria.exclude for entry in self._entries.values()
        )
