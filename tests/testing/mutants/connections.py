"""Bugs in what becomes of a connection that drops."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_HERE, _CLIENT = "client.connection", "client.client"

MUTANTS = (
    _of(
        _CLIENT,
        "lost-is-certain",
        "a request that was sent before its connection dropped is sent again",
        (
            "        self.detach(lambda: ConnectionLost(reason, uncertain=True), keep_run=keep_run)\n",
            "        self.detach(lambda: ConnectionLost(reason, uncertain=False), keep_run=keep_run)\n",
        ),
    ),
    _of(
        _CLIENT,
        "unsent-is-lost",
        "a request that was not sent yet when its connection dropped is lost with it",
        ("self._requests.fail((*ids, *self._dropped), ", "self._requests.fail((), "),
    ),
    _of(
        _CLIENT,
        "drop-fails-nobody",
        "requests in flight do not fail when their connection drops",
        (
            "        self.detach(lambda: ConnectionLost(reason, uncertain=True), keep_run=keep_run)\n",
            "        self._transport = self._ready = None\n        self._gate.shut()\n        self.drain()\n",
        ),
    ),
    _of(
        _CLIENT,
        "gap-without-a-mark",
        "subscribers are not told that there is another connection",
        ("            self._events.publish([marker])\n", "            pass\n"),
    ),
    _of(
        _CLIENT,
        "greeting-eats-events",
        "what Pi says before its first answer on a connection is lost",
        ("        self._route(greeting.items)\n", ""),
    ),
    _of(
        _HERE,
        "away-since-for-ever",
        "how long there was no connection is counted from the first one that was lost",
        (
            "        self._lost_at = now = trio.current_time()\n",
            "        now = trio.current_time()\n        self._lost_at = self._lost_at or now\n",
        ),
    ),
    _of(
        _HERE,
        "connects-again-at-once",
        "an attempt to connect again does not wait for its turn",
        ("                    await trio.sleep(delay)\n", "                    await trio.sleep(delay / 4)\n"),
    ),
    _of(
        _HERE,
        "attempts-not-counted",
        "each attempt to connect again is the first of its row",
        ("                    self._attempts += 1\n", ""),
    ),
    _of(
        _HERE,
        "row-never-ends",
        "a connection that lasted does not end the row of attempts",
        ("            self._attempts = 0\n", "            pass\n"),
    ),
    _of(
        _HERE,
        "final-close-not-heeded",
        "a connection is made again though the other side is done",
        ("        if is_final_close(closing.code):\n", "        if closing.code == 1000:\n"),
    ),
    _of(
        _HERE,
        "refused-once-given-up",
        "an attempt to connect again that fails is the last",
        (
            "        if self._lost_at is not None and not error.final:\n",
            "        if self._lost_at is not None and not error.final and self._attempts < 1:\n",
        ),
    ),
    _of(
        "client.gate",
        "gate-left-shut",
        "what waits for another connection is not let through by it",
        ("        self._opened.set()\n", "        if not self._waiting:\n            self._opened.set()\n"),
    ),
)
