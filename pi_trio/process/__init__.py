"""One operating-system process tree, and what the system says of it."""

from __future__ import annotations

from .direct import DirectHost
from .interrupt import Interruption, current_interruption, watch_interrupts
from .pipes import FdReceivePipe, FdSendPipe
from .procfs import ProcessInfo, list_processes, marked

__all__ = [
    "DirectHost",
    "FdReceivePipe",
    "FdSendPipe",
    "Interruption",
    "ProcessInfo",
    "current_interruption",
    "list_processes",
    "marked",
    "watch_interrupts",
]
