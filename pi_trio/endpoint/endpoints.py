"""What the endpoints of one runtime share: the ports, the tokens, the limit on failures."""

from __future__ import annotations

from pathlib import Path

import trio

from ..process import Address, ListeningSocket, Ports
from ..supervisor import Instance
from .access import Access, FailureLimit, Tickets
from .config import EndpointConfig
from .endpoint import Endpoint
from .scope import Scope
from .token_file import TokenFile, default_token_file

__all__ = ["Endpoints"]


class Endpoints:
    """``runtime.endpoints``: gives out what opens them."""

    def __init__(self, config: EndpointConfig, run_id: str) -> None:
        self.config = config
        """How they are served."""
        self._run_id = run_id
        self._ports = Ports(config.base_port, config.max_port, host=config.host)
        self._access = Access(config.anonymous)
        self._tickets = Tickets()
        self._limit = FailureLimit()
        self._token: str | None = None
        self._file: TokenFile | None = None

    def __repr__(self) -> str:
        return f"<Endpoints {self._ports} {self._access}>"

    # --- for users ---------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """The runtime's own token, which may do everything. Made when it is first wanted."""
        if self._token is None:
            self._token = self._access.issue(Scope.ADMIN)
        return self._token

    @property
    def token_file(self) -> Path | None:
        """The file with that token, readable for this user only; ``None`` before there was an endpoint."""
        return None if self._file is None else self._file.path

    def issue_token(self, scope: Scope) -> str:
        """Another token, which may do what ``scope`` says, at every endpoint of this runtime."""
        return self._access.issue(scope)

    def revoke_token(self, token: str) -> None:
        """Let nobody in with it any more. Peers that are in, stay. Idempotent."""
        self._access.revoke(token)

    def issue_ticket(self, scope: Scope) -> str:
        """Something for a browser: ``url + "/?ticket=" + ticket`` opens a connection, once, within 30 seconds."""
        return self._tickets.issue(scope, trio.current_time())

    # --- for the runtime -----------------------------------------------------------------------------------

    def listen(self, address: Address | None) -> ListeningSocket:
        """An address for an endpoint. Whoever gets it closes it.

        Raises:
            PortAllocationError: there is none.
            OSError: the token file cannot be written.
        """
        if self._file is None:
            path = self.config.token_file
            self._file = TokenFile(default_token_file(self._run_id) if path is None else Path(path), self.token)
        return self._ports.listen(address)

    def open(self, instance: Instance, listening: ListeningSocket) -> Endpoint:
        """The endpoint of an instance. Whoever gets it runs :meth:`Endpoint.serve`."""
        return Endpoint(
            instance,
            listening,
            self.config,
            access=self._access,
            tickets=self._tickets,
            limit=self._limit,
        )

    def close(self) -> None:
        """There will be no other endpoint: remove the token file. Idempotent."""
        if self._file is not None:
            self._file.remove()
