"""Where the extension UI requests of one Pi come in, and where their answers go out."""

from __future__ import annotations

import contextvars
import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import trio

from ..protocol import (
    DISMISSED,
    Dialog,
    DialogHandler,
    Record,
    cancel_dialog,
    decode_event,
    dialog_response,
)
from .dialogs import DialogInterceptor, chain

__all__ = ["DialogDesk"]

_log = logging.getLogger("pi_trio.client")


class DialogDesk:
    """Takes each request to whoever answers it: the interceptors first, then the handler, if there is one.

    Each dialog has a task of its own, so that none waits for another, and the receive path for none. ``send`` writes
    one record to Pi, or drops it.
    """

    def __init__(self, name: str, send: Callable[[Record], None]) -> None:
        self._name = name
        self._send = send
        self._interceptors: list[DialogInterceptor] = []
        self._nursery: trio.Nursery | None = None
        self._context = contextvars.Context()
        self.handler: DialogHandler | None = None
        """Who answers what no interceptor takes; ``None``: nobody."""
        self.fallback: DialogHandler | None = None
        """Who is asked where there is no handler, or it leaves a dialog to somebody else; ``None``: it is dismissed."""

    def add_interceptor(self, interceptor: DialogInterceptor, *, first: bool = False) -> None:
        """From now on ask it, behind those that are there already; or before them."""
        self._interceptors.insert(0 if first else len(self._interceptors), interceptor)

    def remove_interceptor(self, interceptor: DialogInterceptor) -> None:
        """Ask it no more. Nothing happens if it is not there."""
        if interceptor in self._interceptors:
            self._interceptors.remove(interceptor)

    def answer(self, id_: str, response: Mapping[str, Any]) -> None:
        """Send one ``extension_ui_response``."""
        self._send({**response, "type": "extension_ui_response", "id": id_})

    def open(self, nursery: trio.Nursery) -> None:
        """Let the handler answer from here on, in tasks of this nursery: when it is cancelled, what is asked is over."""
        self._context = contextvars.copy_context()
        self._nursery = nursery

    def close(self) -> None:
        """Ask the handler no more. Idempotent."""
        self._nursery = None

    def take(self, request: Record) -> bool:
        """Route one request: never blocks, never raises. Whether an interceptor took it over: then it is no event."""
        if self._intercepted(request):
            return True
        dismissal = cancel_dialog(request)
        if dismissal is not None:  # or it shows something, and expects no answer
            self._have_answered(request, dismissal)
        return False

    def _have_answered(self, request: Record, dismissal: Record) -> None:
        dialog = decode_event(request)
        handlers = [each for each in (self.handler, self.fallback) if each is not None]
        if not handlers or self._nursery is None or not isinstance(dialog, Dialog):
            _log.info("%s: nobody answers dialogs: dismissed %s", self._name, request.get("method"))
            self._send(dismissal)
        else:
            # Records are read by whichever task waits for one. Its context variables are not the handler's.
            start = partial(self._nursery.start_soon, name=f"{self._name} dialog {dialog.id}")
            self._context.run(start, self._ask, chain(*handlers), dialog)

    def _intercepted(self, request: Record) -> bool:
        for interceptor in tuple(self._interceptors):
            try:
                if interceptor(request):
                    return True
            except Exception:  # it must not take the receive path down with it
                _log.exception("%s: an interceptor of dialogs failed", self._name)
        return False

    async def _ask(self, handler: DialogHandler, dialog: Dialog) -> None:
        response: Record = {"cancelled": True}
        # Pi tells nobody when its own deadline is over: it goes on without an answer, and so do we.
        seconds = max(0.0, dialog.timeout / 1000) if dialog.timeout else math.inf
        with trio.move_on_after(seconds) as scope:
            try:
                answer = await handler(dialog)
                response = dialog_response(dialog, DISMISSED if answer is None else answer)
            except Exception:  # to answer is its job, to keep the instance alive is ours
                _log.exception("%s: the handler of dialogs failed: dismissed %r", self._name, dialog.title)
        if not scope.cancelled_caught:
            self.answer(dialog.id, response)
