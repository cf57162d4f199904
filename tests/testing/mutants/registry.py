"""Bugs in what subscribers are told."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_BROADCAST, _FEED, _LEDGER, _TABLE = "concurrency.broadcast", "registry.feed", "registry.ledger", "registry.table"

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
            "        self._missed = 0\n        batch += self._buffer\n",
            "        self._missed //= 2\n        batch += self._buffer\n",
        ),
    ),
    _of(
        _FEED,
        "lagged-miscounted",
        "what is skipped for a new snapshot is not counted",
        ("Lagged(batch[0].missed + len(batch) - 1)", "Lagged(batch[0].missed)"),
    ),
    _of(
        _FEED,
        "events-behind-a-newer-snapshot",
        "events that a new snapshot has already come behind it",
        ("Lagged(batch[0].missed + len(batch) - 1)", "Lagged(batch[0].missed)"),
        (
            "                self._ready.append(self._take_snapshot())\n",
            "                self._ready.extend((self._take_snapshot(), *batch[1:]))\n",
        ),
    ),
    _of(
        _FEED,
        "no-snapshot-after-a-loss",
        "a subscriber that lost events gets no new snapshot",
        ("                self._ready.append(self._take_snapshot())\n", ""),
    ),
    _of(
        _LEDGER,
        "stale-snapshot",
        "a snapshot has the number of now, and the table of the snapshot before",
        ("        self._snapshot = None\n", ""),
        (
            "        return self._snapshot\n",
            "        return Snapshot(self._seq, self._snapshot.instances, self._snapshot.discoveries)\n",
        ),
    ),
    _of(
        _LEDGER,
        "number-left-out",
        "events are not numbered one by one",
        ("            self._seq += 1\n", "            self._seq += 1 + (self._seq % 7 == 6)\n"),
    ),
    _of(
        _TABLE,
        "restart-still-due",
        "an instance that was started again is shown with a restart to come",
        ("        restart_at=None,\n", ""),
    ),
    _of(
        _TABLE,
        "pid-of-the-dead",
        "an instance whose process is gone is shown with its pid",
        (
            "Exited: lambda entry, event: _but(entry, pid=None, exit_status=event.status)",
            "Exited: lambda entry, event: _but(entry, exit_status=event.status)",
        ),
    ),
    _of(
        _TABLE,
        "incarnation-not-counted",
        "an instance is shown with its first incarnation for ever",
        ("        incarnation=event.incarnation,\n", "        incarnation=min(1, event.incarnation),\n"),
    ),
    _of(
        _BROADCAST,
        "newest-lost",
        "a subscriber that falls behind loses the newest, not the oldest",
        ("                buffer.popleft()\n", "                buffer.pop()\n"),
    ),
    _of(
        _LEDGER,
        "feed-never-ends",
        "subscribers do not hear that the runtime is over",
        ("        self._broadcast.close()\n", ""),
    ),
    _of(
        _TABLE,
        "health-not-folded",
        "an instance is shown with the health that it had when it was registered",
        (
            "HealthChanged: lambda entry, event: _but(entry, health=event.health),",
            "HealthChanged: lambda entry, event: entry,",
        ),
    ),
    _of(
        _TABLE,
        "model-not-folded",
        "an instance is shown with the model that was asked for, not with the one that answers",
        ("_but(entry, provider=event.provider, model=event.model)", "_but(entry, provider=event.provider)"),
    ),
    _of(
        _TABLE,
        "breaker-not-folded",
        "an instance is shown with a closed breaker",
        (
            "BreakerChanged: lambda entry, event: _but(entry, breaker=event.breaker),",
            "BreakerChanged: lambda entry, event: entry,",
        ),
    ),
    _of(
        _TABLE,
        "unregistered-and-still-there",
        "an instance that is no member any more is shown",
        ("Unregistered: lambda _entry, _event: None,", "Unregistered: lambda entry, _event: entry,"),
    ),
)
