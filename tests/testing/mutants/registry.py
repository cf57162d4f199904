"""Bugs in what subscribers are told."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_BROADCAST, _HERE, _TABLE = "concurrency.broadcast", "registry.registry", "registry.table"

MUTANTS = (
    _of(
        _BROADCAST,
        "gap-without-lagged",
        "a subscriber that falls behind is not told",
        ("                self._missed += 1\n", ""),
    ),
    _of(
        _BROADCAST,
        "end-drops-the-buffer",
        "what a subscriber has not read when the end comes is lost",
        (
            "            self._ended = True\n            self._make_error = make_error\n",
            "            self._ended = True\n            self._buffer.clear()\n            self._make_error = make_error\n",
        ),
    ),
    _of(
        _BROADCAST,
        "reader-not-woken",
        "a subscriber that waits does not hear of the end",
        (
            "            self._make_error = make_error\n            self._broadcast._forget(self)\n            self._wake()\n",
            "            self._make_error = make_error\n            self._broadcast._forget(self)\n",
        ),
    ),
    _of(
        _BROADCAST,
        "lagged-told-twice",
        "a subscriber is told twice what it missed",
        (
            "            lagged, self._missed = Lagged(self._missed), 0\n",
            "            lagged, self._missed = Lagged(self._missed), self._missed // 2\n",
        ),
    ),
    _of(
        _HERE,
        "lagged-miscounted",
        "what is skipped for a new snapshot is not counted",
        ("return Lagged(item.missed + skipped)", "return Lagged(item.missed)"),
    ),
    _of(
        _HERE,
        "events-behind-a-newer-snapshot",
        "events that a new snapshot has already come behind it",
        ("                skipped = self._subscription.clear()\n", "                skipped = 0\n"),
    ),
    _of(
        _HERE,
        "no-snapshot-after-a-loss",
        "a subscriber that lost events gets no new snapshot",
        ("                self._pending = self._registry.snapshot()\n", ""),
    ),
    _of(
        _HERE,
        "stale-snapshot",
        "a snapshot is of the moment before its number",
        (
            "            self._table = fold(self._table, event)\n            self._seq += 1\n",
            (
                "            before, self._seq = self._table, self._seq + 1\n            await trio.lowlevel.checkpoint()\n"
                "            self._table = fold(before, event)\n"
            ),
        ),
    ),
    _of(
        _HERE,
        "number-left-out",
        "events are not numbered one by one",
        ("            self._seq += 1\n", "            self._seq += 1 + (self._seq % 7 == 6)\n"),
    ),
    _of(
        _TABLE,
        "restart-still-due",
        "an instance that was started again is shown with a restart to come",
        ("            restart_at=None,\n", ""),
    ),
    _of(
        _TABLE,
        "pid-of-the-dead",
        "an instance whose process is gone is shown with its pid",
        (
            "entry = attrs.evolve(entry, pid=None, exit_status=event.status)",
            "entry = attrs.evolve(entry, exit_status=event.status)",
        ),
    ),
    _of(
        _TABLE,
        "incarnation-not-counted",
        "an instance is shown with its first incarnation for ever",
        ("            incarnation=event.incarnation,\n", "            incarnation=min(1, event.incarnation),\n"),
    ),
)
