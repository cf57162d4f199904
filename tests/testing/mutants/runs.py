"""Bugs in what becomes of runs."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_HERE, _CLIENT = "client.run", "client.client"

MUTANTS = (
    _of(
        "client.reply",
        "reply-of-the-first-answer",
        "the text of a reply is that of the run's first answer",
        ("last = answers[-1] if answers else None", "last = answers[0] if answers else None"),
    ),
    _of(
        _HERE,
        "gap-left-in-the-reply",
        "what a run said while its connection was away is missing from its reply",
        (
            "        if self._first is not None:\n            await self._recall",
            "        if self._last is None:\n            await self._recall",
        ),
    ),
    _of(
        _HERE,
        "piece-lost",
        "a piece of the text that comes behind something else is not shown",
        (
            "            if not isinstance(item, Reconnected) and (delta := text_delta(item)):\n",
            "            if isinstance(item, bytes) and self._taken % 8 and (delta := text_delta(item)):\n",
        ),
    ),
    _of(
        _CLIENT,
        "run-dies-with-its-connection",
        "a run fails when its connection drops, though its Pi goes on with it",
        ("not (keep_run and self._run._outlives_connection)", "not (keep_run and self._run._settled)"),
    ),
)
