"""The runtime of the program, from anywhere in it, without passing it around."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import attrs
import trio

from ..errors import NoRuntime

if TYPE_CHECKING:
    from .runtime import Runtime

__all__ = ["current_runtime", "runtime_for_tasks"]


@attrs.frozen
class _Open:
    """A runtime that was opened, and the one around it."""

    runtime: Runtime
    token: trio.lowlevel.TrioToken
    """Of the Trio run that it belongs to: a thread inherits its starter's context, and may run a Trio of its own."""
    around: _Open | None


_innermost: ContextVar[_Open | None] = ContextVar("pi_trio_runtime", default=None)


def current_runtime() -> Runtime:
    """The innermost runtime that is open around this task, in this Trio run.

    A task inherits it from where it was started, as it does its other context variables. Two Trio runs, in two threads,
    do not see each other's.

    Raises:
        NoRuntime: there is none; or this is not called from within Trio.
    """
    opened = _innermost.get()
    try:
        token = trio.lowlevel.current_trio_token()
    except RuntimeError:
        raise NoRuntime from None
    while opened is not None:
        # A task may outlive the runtime that was open where it was started.
        if opened.token is token and not opened.runtime.closing:
            return opened.runtime
        opened = opened.around
    raise NoRuntime


@contextmanager
def runtime_for_tasks(runtime: Runtime) -> Iterator[None]:
    """Make it the innermost one for the body, and for the tasks that are started in it."""
    reset = _innermost.set(_Open(runtime, trio.lowlevel.current_trio_token(), _innermost.get()))
    try:
        yield
    finally:
        _innermost.reset(reset)
