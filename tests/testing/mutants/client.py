"""Bugs in what becomes of requests, events and runs."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_HERE, _REQUESTS, _INTAKE = "client.client", "client.requests", "client.intake"

MUTANTS = (
    _of(
        _HERE,
        "pending-request-left",
        "requests in flight do not fail when their Pi is gone",
        (
            "(ConnectionState.AWAY)\n        self._fail_requests(why)\n",
            "(ConnectionState.AWAY)\n",
        ),
    ),
    _of(
        _HERE,
        "waiting-request-left",
        "requests that wait for the next Pi do not fail when there will be none",
        (
            "        self._why_closed = why\n        self._gate.open()\n",
            "        self._why_closed = why\n",
        ),
    ),
    _of(
        _HERE,
        "waits-for-a-pi-that-never-comes",
        "a request to an instance that is over waits for the next Pi",
        (
            "        if self._why_closed is None:\n            self._gate.shut()\n",
            "        self._gate.shut()\n        if self._why_closed is None:\n",
        ),
    ),
    _of(
        _HERE,
        "goes-to-the-unready",
        "requests go out to a Pi that is not ready yet",
        ("        self._intake = None  # until it is served\n", "        self._intake = None\n        self.open()\n"),
    ),
    _of(
        _HERE,
        "run-outlives-its-process",
        "a run does not end with its Pi, and waits for the next one's events",
        ("            self._run._fail(why)\n        self.drain()", "            pass\n        self.drain()"),
    ),
    _of(
        _HERE,
        "events-before-a-response-lost",
        "events that come in one piece with a response behind them are dropped",
        (
            "                    events = self._published(events)\n                    resolved = self._requests.resolve(record)\n",
            "                    events = []\n                    resolved = self._requests.resolve(record)\n",
        ),
    ),
    _of(
        _HERE,
        "events-before-a-response-twice",
        "events that come in one piece with a response behind them are published twice",
        (
            "                    events = self._published(events)\n                    resolved = self._requests.resolve(record)\n",
            "                    self._published(events)\n                    resolved = self._requests.resolve(record)\n",
        ),
    ),
    _of(
        _HERE,
        "events-reordered",
        "streamed steps overtake what came before them",
        (
            "                    events.append(item)\n                    continue\n",
            "                    self._events.publish([item])\n                    continue\n",
        ),
    ),
    _of(
        _HERE,
        "malformed-records-lost",
        "what is no record is dropped, not shown",
        (
            "            elif isinstance(item, bytes) and not item.strip():\n",
            "            elif type(record) is not dict:\n",
        ),
    ),
    _of(
        _REQUESTS,
        "ids-used-again",
        "the id of a request is that of one before it",
        ('        return f"r{self._last_id}"\n', '        return f"r{self._last_id % 3}"\n'),
    ),
    _of(
        _REQUESTS,
        "failed-twice",
        "a request that was timed out stays in the table, to fail again",
        ("            self.forget(pending)\n            pending._finish", "            pending._finish"),
    ),
    _of(
        _REQUESTS,
        "last-one-never-failed",
        "of the requests in flight when a Pi dies, the last is forgotten",
        ("        for pending in failing:\n", "        for pending in failing[:-1] or failing:\n"),
    ),
    _of(
        _REQUESTS,
        "clock-not-set",
        "a request with an earlier deadline than all others does not set the clock",
        ("                self._clock.deadline = pending.deadline\n", "                pass\n"),
    ),
    _of(
        _REQUESTS,
        "clock-set-too-late",
        "requests time out a tenth late",
        ("self._earliest = pending.deadline\n", "self._earliest = pending.deadline + 0.1 * timeout\n"),
        ("self._clock.deadline = pending.deadline", "self._clock.deadline = self._earliest"),
        (
            "with trio.CancelScope(deadline=self._earliest) as self._clock:",
            "with trio.CancelScope(deadline=self._earliest * 1.1) as self._clock:",
        ),
    ),
    _of(
        _INTAKE,
        "read-and-lost",
        "what a request reads behind its own response is lost",
        ("                self._route(items)\n", "                self._route(items[:2])\n"),
    ),
    _of(
        _HERE,
        "timeout-counted-anew",
        "a request's time-out begins when there is a Pi, not when it was asked for",
        (
            "self._submit(transport, command, params, _left(deadline), on_response)",
            "self._submit(transport, command, params, seconds, on_response)",
        ),
    ),
    _of(
        _HERE,
        "responses-without-id-lost",
        "a response to nobody is dropped, not shown",
        ('if kind == "response" and record.get("id") is not None:', 'if kind == "response":'),
    ),
    _of(
        _HERE,
        "failure-taken-for-success",
        "what Pi refuses counts as done",
        ('    if response.get("success") is not True:\n', '    if response.get("success") is None:\n'),
    ),
    _of(
        _REQUESTS,
        "matched-by-command",
        "a response goes to whoever asked first for the same thing",
        (
            "        pending = self._pending.pop(id_, None) if type(id_) is str else None\n",
            (
                "        pending = next((p for p in self._pending.values() if p.command == record.get('command')), None)\n"
                "        if pending is not None:\n"
                "            del self._pending[pending.id]\n"
            ),
        ),
    ),
    _of(
        "client.gate",
        "wait-without-timeout",
        "the wait for the next Pi has no time-out",
        (
            "with trio.move_on_after(min(own, self._patience)) as scope:",
            "with trio.move_on_after(self._patience) as scope:",
        ),
    ),
    _of(
        "client.client",
        "subscriber-behind-a-response",
        "events that come behind a response in one piece wait for the next read",
        (
            "        self._published(events)\n        return answered\n",
            "        if not answered:\n            self._published(events)\n        return answered\n",
        ),
    ),
    _of(
        "client.requests",
        "late-answer-to-the-next",
        "an id is free again as soon as its request was given up",
        (
            "        self._pending.pop(pending.id, None)\n        self.by_line.pop(pending.id, None)\n\n    def fail(",
            "        self._pending.pop(pending.id, None)\n        self._last_id -= 1\n        self.by_line.pop(pending.id, None)\n\n    def fail(",
        ),
    ),
    _of(
        "client.client",
        "left-and-not-aborted",
        "a run that is left early goes on",
        (
            "                if run._goes_on and self._transport is run._transport:",
            "                if run._goes_on and self._transport is None:",
        ),
    ),
)
