"""Bugs between the pipes and the client."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_PIPES, _FRAMING = "transport.pipes", "protocol.framing"

MUTANTS = (
    _of(
        _PIPES,
        "cut-off-record-lost",
        "a record that is cut off by the end of its process is dropped, not shown",
        (
            "            elif rest := cut_off(self._lines.end()):\n                return [rest]\n",
            "",
        ),
    ),
    _of(
        _PIPES,
        "two-writers",
        "a record gets in front of the half of another that is still queued",
        ("        self._queue += record[written:]\n", "        self._queue[:0] = record[written:]\n"),
    ),
    _of(
        _PIPES,
        "beginning-sent-twice",
        "what the pipe took of a record is sent once more with the rest",
        ("        self._queue += record[written:]\n", "        self._queue += record\n"),
    ),
    _of(
        _PIPES,
        "rest-never-sent",
        "what the pipe did not take of a record is not sent",
        ("        self._queue += record[written:]\n", "        self._queue += record if not written else b''\n"),
    ),
    _of(
        _PIPES,
        "output-not-logged",
        "what comes with the end of a record is not kept in the logs",
        (
            "        if data:\n            self._on_data(data)\n",
            "        if data and not data.endswith(b'}\\n'):\n            self._on_data(data)\n",
        ),
    ),
    _of(
        _FRAMING,
        "half-record",
        "of a record that came in pieces, only the last is delivered",
        ('        line = b"".join(self._pending)\n', "        line = piece\n"),
    ),
    _of(
        _FRAMING,
        "pieces-swapped",
        "the pieces of a record are put together in the wrong order",
        ('        line = b"".join(self._pending)\n', '        line = b"".join(reversed(self._pending))\n'),
    ),
    _of(
        _FRAMING,
        "quick-way-taken-wrongly",
        "a whole line is delivered before the rest of the one in front of it",
        ("if plain and not rest and not self._pending_bytes and not self._skipping:", "if plain and not rest:"),
    ),
    _of(
        _FRAMING,
        "end-forgotten",
        "what was left of one line is put in front of the next",
        (
            "        self._pending.clear()\n        self._pending_bytes = 0\n        return self._whole",
            "        self._pending_bytes = 0\n        return self._whole",
        ),
    ),
    _of(
        _PIPES,
        "sender-not-woken",
        "what is queued waits for the next record",
        (
            "        if self._queue and self._idle is not None:",
            "        if not self._queue and self._idle is not None:",
        ),
    ),
    _of(
        _PIPES,
        "eof-before-the-queue",
        "stdin is closed while records are queued for it",
        (
            "        self._closing = True\n        if self._queue:\n",
            "        self._closing = True\n        if self._queue and self._broken:\n",
        ),
    ),
    _of(
        "supervisor.output",
        "logs-keep-the-oldest",
        "of too much output, the newest is forgotten",
        ("            oldest = self._chunks.popleft()", "            oldest = self._chunks.pop()"),
    ),
)
