"""One operating-system process tree, and what the system says of it."""

from __future__ import annotations

from .direct import DirectHost
from .free_port import free_port
from .hosts import guarantee, open_default_host
from .interrupt import Interruption, current_interruption, watch_interrupts
from .keeper import KeeperHost, keeper_available, open_keeper_host
from .pipes import FdReceivePipe, FdSendPipe
from .ports import Address, ListeningSocket, Ports
from .procfs import ProcessInfo, list_processes, marked
from .run_id import new_run_id, owner_of
from .sweep import sweep_dead_runs

__all__ = [
    "Address",
    "DirectHost",
    "FdReceivePipe",
    "FdSendPipe",
    "Interruption",
    "KeeperHost",
    "ListeningSocket",
    "Ports",
    "ProcessInfo",
    "current_interruption",
    "free_port",
    "guarantee",
    "keeper_available",
    "list_processes",
    "marked",
    "new_run_id",
    "open_default_host",
    "open_keeper_host",
    "owner_of",
    "sweep_dead_runs",
    "watch_interrupts",
]
