"""Who may come in, and as what: tokens, tickets that are good once, and a limit on guessing. No I/O, no clock."""

from __future__ import annotations

import hmac
import secrets

import attrs

from .scope import Scope

__all__ = ["Access", "FailureLimit", "Tickets"]

# 256 bits: not to be guessed, however many attempts there are.
_TOKEN_BYTES = 32


class Access:
    """Which token gives which scope."""

    def __init__(self, anonymous: Scope | None = None) -> None:
        self._scopes: dict[str, Scope] = {}
        self._anonymous = anonymous

    def __repr__(self) -> str:
        return f"<Access {len(self._scopes)} tokens>"  # and never a token

    def issue(self, scope: Scope) -> str:
        """A new random token, for as long as it is not revoked."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._scopes[token] = scope
        return token

    def revoke(self, token: str) -> None:
        """It opens nothing any more. Peers that came in with it stay. Idempotent."""
        self._scopes.pop(token, None)

    def scope_for(self, token: str | None) -> Scope | None:
        """The scope of whoever shows this token, or none at all; ``None``: it is no good.

        Takes the same time whichever byte is wrong: every token is compared, and each to its end.
        """
        if token is None:
            return self._anonymous
        shown, found = token.encode("utf-8", "surrogateescape"), None
        for each, scope in self._scopes.items():
            if hmac.compare_digest(each.encode("ascii"), shown):
                found = scope
        return found


@attrs.frozen
class _Ticket:
    scope: Scope
    expires_at: float


class Tickets:
    """For browsers, which cannot send a token with a WebSocket: each is good once, and soon not any more.

    So one may stand in a URL: by the time it is found in a log, it is worth nothing.
    """

    def __init__(self, *, lifetime: float = 30.0, most: int = 1024) -> None:
        self.lifetime = lifetime
        """Seconds that a ticket is good for."""
        self._most = most
        self._tickets: dict[str, _Ticket] = {}

    def __repr__(self) -> str:
        return f"<Tickets {len(self._tickets)} outstanding>"

    def issue(self, scope: Scope, now: float) -> str:
        """A new ticket. Of too many outstanding ones, the oldest lapse."""
        self._drop_expired(now)
        while len(self._tickets) >= self._most:
            del self._tickets[next(iter(self._tickets))]
        ticket = secrets.token_urlsafe(_TOKEN_BYTES)
        self._tickets[ticket] = _Ticket(scope, now + self.lifetime)
        return ticket

    def redeem(self, ticket: str, now: float) -> Scope | None:
        """The scope of a ticket, which is used up by that; ``None``: it is no good (any more)."""
        self._drop_expired(now)
        # Looked up by its hash, not compared: whatever time tells about that is of no use, for it is secret and random.
        found = self._tickets.pop(ticket, None)
        return None if found is None else found.scope

    def _drop_expired(self, now: float) -> None:
        for ticket in [name for name, each in self._tickets.items() if each.expires_at <= now]:
            del self._tickets[ticket]


class FailureLimit:
    """How many failed attempts are answered at once: ``burst`` of them, and ``rate`` more a second.

    A bucket that only failures draw from: whoever shows a good token never notices it, full or empty, and it makes no
    difference where an attempt comes from.
    """

    def __init__(self, *, burst: int = 10, rate: float = 1.0) -> None:
        self._burst = float(burst)
        self._rate = rate
        self._left = float(burst)
        self._filled_at = 0.0

    def __repr__(self) -> str:
        return f"<FailureLimit {self._left:.1f} of {self._burst:g} left>"

    def failed(self, now: float) -> bool:
        """Count a failure. Whether it is within the limit."""
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
