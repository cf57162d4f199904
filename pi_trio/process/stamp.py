"""A mark on every process of a tree that clearing the environment does not take off.

The marker in the environment is gone behind ``env -i``. Resource limits are not: every fork and every exec
passes them on, anybody may read them (``/proc/<pid>/limits``), and one of them, RLIMIT_LOCKS, has meant nothing
since Linux 2.4.25. So its soft limit can carry 63 bits of ours. Normally it is unlimited.

    bit 62      1: this is a stamp
    bits 40-61  the pid of the runtime; there are no larger ones
    bits 20-39  the end of the number of its pid namespace
    bits 6-19   the end of its start time
    bits 0-5    which of the hosts that are open in that process

What is cut off can only make a dead runtime look alive, never the other way round: as long as it lives, its
pid is there, and all the bits are the same. (Numbers of namespaces are given out in order; 2**20 of them would
have to exist for two to look the same.)

It is the second mark, for when no keeper and no helper is left to know the tree by descent. A process that
sets this limit itself, or is started by another daemon, does not have it.
"""

from __future__ import annotations

from .run_id import RunOwner, pid_namespace, start_of_living

__all__ = ["SERIALS", "make_stamp", "read_stamp", "stamped_by_the_dead"]

SERIALS = 1 << 6
"""How many hosts of one process can have different stamps."""

_FLAG = 1 << 62
_PID_BITS, _NAMESPACE_BITS, _START_BITS, _SERIAL_BITS = 22, 20, 14, 6


def _low(number: int, bits: int) -> int:
    return number & ((1 << bits) - 1)


def make_stamp(owner: RunOwner, serial: int) -> int:
    """The stamp of host number ``serial`` in the process ``owner``."""
    stamp = _FLAG | _low(owner.pid, _PID_BITS) << _NAMESPACE_BITS + _START_BITS + _SERIAL_BITS
    stamp |= _low(owner.namespace, _NAMESPACE_BITS) << _START_BITS + _SERIAL_BITS
    return stamp | _low(owner.started, _START_BITS) << _SERIAL_BITS | _low(serial, _SERIAL_BITS)


def read_stamp(pid: int) -> int | None:
    """The stamp of a process, zombies included; ``None`` when it has none."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            limits = file.read()
    except OSError:
        return None
    _, found, line = limits.partition(b"\nMax file locks")
    soft = line.split(maxsplit=1)[0] if found else b""
    stamp = int(soft) if soft.isdigit() else 0
    return stamp if stamp & _FLAG and stamp < 2 * _FLAG else None


def stamped_by_the_dead(stamp: int) -> bool:
    """Whether the runtime that made this stamp is certainly gone. Of other pid namespaces nothing is certain."""
    here = pid_namespace()
    if not here:
        return False
    pid = _low(stamp >> _NAMESPACE_BITS + _START_BITS + _SERIAL_BITS, _PID_BITS)
    if _low(stamp >> _START_BITS + _SERIAL_BITS, _NAMESPACE_BITS) != _low(here, _NAMESPACE_BITS):
        return False
    started = start_of_living(pid)
    return started is None or make_stamp(RunOwner(pid, started, here), _low(stamp, _SERIAL_BITS)) != stamp
