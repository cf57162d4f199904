"""One operating-system process tree, and what the system says of it."""

from __future__ import annotations

from .direct import DirectHost
from .interrupt import Interruption, cancel_on_signals
from .pipes import FdReceivePipe, FdSendPipe
from .procfs import ProcessInfo, list_processes, marked

__all__ = [
    "DirectHost",
    "FdReceivePipe",
    "FdSendPipe",
    "Interruption",
    "ProcessInfo",
    "cancel_on_signals",
    "list_processes",
    "marked",
]
