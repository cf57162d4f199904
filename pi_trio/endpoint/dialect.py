from __future__ import annotations

from ..client import PiClient
from ..protocol import Record
from .conversation import Conversation
from .peer import Peer
from .said import Said


class Dialect(Conversation):
    def __init__(self, peer: Peer, client: PiClient) -> None:
        self._peer = peer

    def take(self, message: str) -> None: ...
    def show(self, said: Said) -> None: ...
    def ask(self, dialog: Record) -> None: ...
    async def run(self) -> None: ...
    @property
    def answers_dialogs(self) -> bool:
        return False
