"""Where the extension UI requests of one Pi come in, and where their answers go out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..protocol import Record, cancel_dialog
from .dialogs import DialogInterceptor

__all__ = ["DialogDesk"]

_log = logging.getLogger("pi_trio.client")


class DialogDesk:
    """Takes each request to whoever answers it. ``send`` writes one record to Pi, or drops it."""

    def __init__(self, name: str, send: Callable[[Record], None]) -> None:
        self._name = name
        self._send = send
        self._interceptors: list[DialogInterceptor] = []

    def add_interceptor(self, interceptor: DialogInterceptor) -> None:
        """From now on ask it, behind those that are there already."""
        self._interceptors.append(interceptor)

    def remove_interceptor(self, interceptor: DialogInterceptor) -> None:
        """Ask it no more. Nothing happens if it is not there."""
        if interceptor in self._interceptors:
            self._interceptors.remove(interceptor)

    def answer(self, id_: str, response: Mapping[str, Any]) -> None:
        """Send one ``extension_ui_response``."""
        self._send({**response, "type": "extension_ui_response", "id": id_})

    def take(self, request: Record) -> None:
        """Route one request: never blocks, never raises."""
        if self._intercepted(request):
            return
        dismissal = cancel_dialog(request)
        if dismissal is not None:
            _log.info("%s: nobody answers dialogs: cancelled %s", self._name, request.get("method"))
            self._send(dismissal)

    def _intercepted(self, request: Record) -> bool:
        for interceptor in tuple(self._interceptors):
            try:
                if interceptor(request):
                    return True
            except Exception:  # it must not take the receive path down with it
                _log.exception("%s: an interceptor of dialogs failed", self._name)
        return False
