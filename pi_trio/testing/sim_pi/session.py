"""Sessions: what a Pi remembers, and what of it outlives the process."""

from __future__ import annotations

import random
from typing import Any

import attrs

from .messages import Json, add_usage

__all__ = ["Session", "SessionStore"]

# Entries have a time of their own beside that of their message. Nobody here asks for it.
_WHEN = "1970-01-01T00:00:00.000Z"


def _no_tokens() -> dict[str, Any]:
    return {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0, "cost": 0.0}


@attrs.define(eq=False)
class Session:
    """One conversation."""

    id: str
    file: str | None
    """Where it is kept; ``None`` when it is not."""
    name: str | None = None
    messages: list[Json] = attrs.field(factory=list)
    """What the model is given."""
    everything: list[Json] = attrs.field(factory=list)
    """All messages there ever were, the compacted ones included."""
    entries: list[Json] = attrs.field(factory=list)
    """The same, as the file has them: each with an id, behind the one before it."""
    totals: Json = attrs.field(factory=_no_tokens)
    compacted: bool = False
    """Whether nothing was said since the last compaction."""

    def add(self, message: Json) -> None:
        """Add a complete message."""
        self.messages.append(message)
        self.everything.append(message)
        parent = self.entries[-1]["id"] if self.entries else None
        entry = {"type": "message", "id": f"{len(self.entries) + 1:08x}", "parentId": parent, "timestamp": _WHEN}
        self.entries.append({**entry, "message": message})
        self.compacted = False
        if message["role"] == "assistant":
            add_usage(self.totals, message["usage"])

    def statistics(self, context_window: int) -> Json:
        """The data of ``get_session_stats``."""
        roles = [message["role"] for message in self.everything]
        answers = [message for message in self.everything if message["role"] == "assistant"]
        used = answers[-1]["usage"]["totalTokens"] if answers and not self.compacted else 0
        context = {"tokens": used, "contextWindow": context_window, "percent": 100 * used / context_window}
        if self.compacted:
            context |= {"tokens": None, "percent": None}
        return {
            **({} if self.file is None else {"sessionFile": self.file}),
            "sessionId": self.id,
            "userMessages": roles.count("user"),
            "assistantMessages": len(answers),
            "toolCalls": sum(block["type"] == "toolCall" for answer in answers for block in answer["content"]),
            "toolResults": roles.count("toolResult"),
            "totalMessages": len(roles),
            "tokens": {name: count for name, count in self.totals.items() if name != "cost"},
            "cost": self.totals["cost"],
            "contextUsage": context,
        }


class SessionStore:
    """The session files of one simulated machine: a Pi that starts later finds what an earlier one left."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def __repr__(self) -> str:
        return f"<SessionStore {len(self._sessions)} sessions>"

    def new(self, rng: random.Random, *, kept: bool) -> Session:
        """A fresh session with an id of its own."""
        return self.open(f"{rng.getrandbits(128):032x}", kept=kept)

    def open(self, session_id: str, *, kept: bool = True) -> Session:
        """The session with this id: the one that is kept, or a fresh one."""
        session = self._sessions.get(session_id)
        if session is None:
            session = Session(session_id, f"/sessions/{session_id}.jsonl" if kept else None)
            if kept:
                self._sessions[session_id] = session
        return session

    def find(self, text: str) -> Session | None:
        """The session in this file, or whose id starts with this."""
        for session in self._sessions.values():
            if session.file == text or session.id.startswith(text):
                return session
        return None
