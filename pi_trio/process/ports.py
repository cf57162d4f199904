"""Where endpoints listen: TCP ports and UNIX sockets, bound when they are chosen and kept until they are given back.

Asking whether a port is free, and binding it later, hands it out twice. Here to choose a port *is* to listen at it.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from typing import TypeAlias

import trio

from ..errors import PortAllocationError

__all__ = ["Address", "ListeningSocket", "Ports"]

Address: TypeAlias = int | str | os.PathLike[str]
"""A TCP port (0 for any that the system gives), or the path of a UNIX socket."""

# What the kernel holds while nobody accepts: a burst of connections, and those that come before Pi is ready.
_BACKLOG = 512


class ListeningSocket:
    """An address that is ours, with a socket listening at it. Whoever got it calls :meth:`close`, once or more."""

    def __init__(self, sock: socket.socket, *, path: str | None = None) -> None:
        self._socket = trio.socket.from_stdlib_socket(sock)
        self.listener = trio.SocketListener(self._socket)
        """Where connections come in."""
        self.path = path
        """The path of a UNIX socket; ``None`` for TCP."""
        self.host = "" if path is not None else str(sock.getsockname()[0])
        """The literal address it is bound to; empty for a UNIX socket."""
        self.port = 0 if path is not None else int(sock.getsockname()[1])
        """The TCP port; 0 for a UNIX socket."""
        self._inode = None if path is None else os.stat(path).st_ino
        self.closed = False
        """Whether the address was given back."""

    def __repr__(self) -> str:
        return f"<ListeningSocket {self} {'closed' if self.closed else 'open'}>"

    def __str__(self) -> str:
        return self.path if self.path is not None else f"{_bracketed(self.host)}:{self.port}"

    def close(self) -> None:
        """Give the address back. Idempotent; never blocks. Connections that were accepted stay."""
        if self.closed:
            return
        self.closed = True
        self._socket.close()
        if self.path is not None:
            self._unlink(self.path)

    def _unlink(self, path: str) -> None:
        try:  # unless somebody has put another one there
            if os.stat(path).st_ino == self._inode:
                os.unlink(path)
        except FileNotFoundError:
            pass


class Ports:
    """A range of TCP ports on one address of this machine, and the UNIX sockets beside it."""

    def __init__(self, base_port: int = 0, max_port: int = 0, *, host: str = "127.0.0.1") -> None:
        """Hand out ports from ``base_port`` to ``max_port``, both included; 0 and 0: what the system gives.

        Raises:
            ValueError: that is no range, or ``host`` is a name where a literal address is wanted.
        """
        if not 0 <= base_port <= max_port <= 65535 or (base_port == 0) != (max_port == 0):
            raise ValueError(f"ports go from 1 to 65535, lowest first; not from {base_port} to {max_port}")
        self._family = socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6
        self._host = host
        self._base_port = base_port
        self._max_port = max_port

    def __repr__(self) -> str:
        return f"<Ports {_bracketed(self._host)} {self._base_port}-{self._max_port}>"

    def listen(self, address: Address | None = None) -> ListeningSocket:
        """Listen at the lowest port of the range that is free, or at this address and no other.

        Never blocks. There is no moment at which the port that it returns could be somebody else's.

        Raises:
            PortAllocationError: it is taken, or the whole range is.
        """
        if isinstance(address, str | os.PathLike):
            return _listen_at_path(os.fspath(address))
        return ListeningSocket(self._listening(address))

    def check(self, port: int) -> None:
        """Whether a process could listen at this port by itself now. A moment later it may be somebody else's.

        Raises:
            PortAllocationError: it could not.
        """
        self._listening(port).close()

    def _listening(self, address: int | None) -> socket.socket:
        tried: list[tuple[str, str]] = []
        for port in self._candidates(address):
            try:
                return self._bound(port)
            except (OSError, OverflowError) as error:
                tried.append((f"{_bracketed(self._host)}:{port}", _reason(error)))
        what = f"port {address} cannot be had" if address else f"no port left in {self._base_port}-{self._max_port}"
        raise PortAllocationError(what, tried=tuple(tried))

    def _candidates(self, port: int | None) -> Iterator[int]:
        return iter(range(self._base_port, self._max_port + 1) if port is None else (port,))

    def _bound(self, port: int) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            if os.name == "posix":
                # Connections of a former endpoint may linger in TIME_WAIT, and are no reason to refuse its port. (On
                # Windows the option means something else: to take a port away from whoever has it.)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((self._host, port))
            sock.listen(_BACKLOG)  # at once: with SO_REUSEADDR, only a listening socket keeps others out
        except BaseException:
            sock.close()
            raise
        return sock


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reason(error: Exception) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EADDRINUSE:
        return "in use"
    if code in (errno.EACCES, errno.EPERM):
        return "not allowed"
    return str(error)


def _listen_at_path(path: str) -> ListeningSocket:
    """Listen at a UNIX socket that only this user may open. One that nobody listens at any more is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear_away(path)
        sock.bind(path)
        try:
            os.chmod(path, 0o600)  # before it listens: until then nobody can connect
            sock.listen(_BACKLOG)
        except BaseException:
            os.unlink(path)
            raise
        return ListeningSocket(sock, path=path)
    except OSError as error:
        sock.close()
        raise PortAllocationError("the socket cannot be had", tried=((path, _reason(error)),)) from error


def _clear_away(path: str) -> None:
    """Remove a socket that a program left behind, and nothing else."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "there is something else")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            pass  # its backlog is full: somebody is there
