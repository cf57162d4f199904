"""Who answers the dialogs that extensions in Pi open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..protocol import Record

__all__ = ["DialogInterceptor"]

DialogInterceptor: TypeAlias = Callable[[Record], bool]
"""Looks at an ``extension_ui_request`` before anybody else does, as it is routed: it must not block. With ``True``
it takes the request over, and answers it in its own time with :meth:`pi_trio.client.PiClient.answer_dialog`."""
