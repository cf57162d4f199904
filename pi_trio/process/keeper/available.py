"""Whether this system has what the keeper host is made of."""

from __future__ import annotations

import os
import signal
import sys

import attrs

from ..sweep import proc_is_ours
from .helper.kernel import is_subreaper

__all__ = ["Availability", "keeper_available"]


@attrs.frozen
class Availability:
    """True when the keeper host can be used here."""

    why_not: str | None = None
    """What is missing, for a reader."""

    def __bool__(self) -> bool:
        return self.why_not is None


def keeper_available() -> Availability:
    """Whether :func:`open_keeper_host` can work here. Tries the system calls; changes nothing."""
    if sys.platform != "linux":
        return Availability(f"keepers need Linux; this is {sys.platform}")
    if not sys.executable or getattr(sys, "frozen", False):
        return Availability("there is no Python interpreter to start the helper with (sys.executable)")
    if not proc_is_ours():
        return Availability("/proc is not mounted, or belongs to another pid namespace")
    try:
        pidfd = os.pidfd_open(os.getpid())
        try:
            signal.pidfd_send_signal(pidfd, 0)
        finally:
            os.close(pidfd)
    except OSError as error:
        return Availability(f"the kernel has no pidfds for us: {error}")
    try:
        is_subreaper()
    except OSError as error:
        return Availability(f"the kernel has no subreapers for us: {error}")
    return Availability()
