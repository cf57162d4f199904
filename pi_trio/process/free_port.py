"""A port for a process that will bind it by itself."""

from __future__ import annotations

import socket

__all__ = ["free_port"]


def free_port() -> int:
    """A port on 127.0.0.1 that nobody holds now.

    Somebody else may take it before the process does, which then ends; whoever starts it again asks for another.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
