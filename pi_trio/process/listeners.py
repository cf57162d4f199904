"""Whose socket it is that listens at a port, read from ``/proc``. Linux only."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping

from .procfs import descendants, list_processes, marked

__all__ = ["listens_at"]

_LISTENING = "0A"


def listens_at(port: int, root: int, marker: Mapping[str, str]) -> bool:
    """Whether what answers at 127.0.0.1 and this port belongs to the process tree with this root and this marker in its
    environment. Also true where ``/proc`` does not show who listens there: off Linux, or behind another network.
    """
    answering = _listening_sockets(port)
    held = _sockets_of(root)
    if not answering <= held:
        processes = list(list_processes())
        family = descendants(root, processes)
        if marker:  # no marker would be everybody's
            family |= {process.pid for process in marked(marker, processes)}
        held = held.union(*map(_sockets_of, family))
    return answering <= held


def _listening_sockets(port: int) -> set[str]:
    """The inodes of those that a connection to 127.0.0.1 may come to: the kernel takes the address that fits best."""
    here, anywhere = _as_in_proc("127.0.0.1"), _as_in_proc("0.0.0.0")  # noqa: S104  # nothing is bound here
    mapped = _as_in_proc("::ffff:127.0.0.1", socket.AF_INET6)
    for addresses in ({here, mapped}, {anywhere}, {_as_in_proc("::", socket.AF_INET6)}):
        found = {inode for address, inode in _listeners(port) if address in addresses}
        if found:
            return found
    return set()


def _as_in_proc(address: str, family: socket.AddressFamily = socket.AF_INET) -> str:
    """An address as the kernel prints it: words of four bytes, each as a number."""
    packed = socket.inet_pton(family, address)
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def _listeners(port: int) -> Iterator[tuple[str, str]]:
    """The address and the inode of each socket that listens at this port."""
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/net/{table}") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        for _, local, _, state, *rest in rows:
            address, _, number = local.partition(":")
            if state == _LISTENING and int(number, 16) == port:
                yield address, rest[5]


def _sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open; none, where it may not be looked into."""
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue  # it was closed since
            if target.startswith("socket:["):
                found.add(target[len("socket:[") : -1])
    except OSError:
        pass
    return found
