"""Background tasks that outlive the body they serve, and leave its exception alone.

A plain nursery in an ``open_x()`` context manager does two things wrong. Cancellation reaches the
background tasks and the body at the same instant, so that the body's own clean-up finds the service dead;
and the body's ``ValueError`` comes out as an ``ExceptionGroup``. :func:`open_service_nursery` does neither.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

__all__ = ["ServiceNursery", "open_service_nursery"]


class ServiceNursery:
    """Starts background tasks that no cancellation from outside reaches; see :func:`open_service_nursery`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.closing = False
        """Whether the body is over: nothing more should be started then."""

    def start_soon(self, task: Callable[[], Awaitable[object]], *, name: object = None) -> None:
        """Start ``task``, shielded: it ends by itself, or when the service's ``stop`` makes it."""
        self._nursery.start_soon(self._shielded, task, name=name)

    async def _shielded(self, task: Callable[[], Awaitable[object]]) -> None:
        with trio.CancelScope(shield=True):
            await task()


@asynccontextmanager
async def open_service_nursery(
    stop: Callable[[BaseException | None], Awaitable[None]],
) -> AsyncIterator[ServiceNursery]:
    """A nursery for the background tasks of a service, around the body that uses it.

    When the body has returned, ``stop(None)`` is awaited: it has to make every task end, in its own time. When
    the body raised (``trio.Cancelled`` included), or ``stop(None)`` was cancelled, ``stop(error)`` is awaited
    under a shield: it has to make haste, and to bound its own waiting; a ``KeyboardInterrupt`` meanwhile makes
    it be called again, with that. Then the tasks are waited for.

    What comes out is what the body raised, unchanged. A background task that crashes cancels the body, and
    its exception comes out (in an ``ExceptionGroup`` when there is more than one, or when the body raised
    something of its own too).
    """
    body_error: BaseException | None = None
    service_errors: list[BaseException] = []
    try:
        async with trio.open_nursery() as nursery:
            service = ServiceNursery(nursery)
            try:
                yield service
            except BaseException as error:
                body_error = error
            service.closing = True
            body_error = await _stop_all(stop, body_error)
    except BaseExceptionGroup as group:
        service_errors = _leaves(group)
    service_errors = [error for error in service_errors if not isinstance(error, trio.Cancelled)]
    if not service_errors:
        if body_error is not None:
            raise body_error
        return
    if body_error is not None and not isinstance(body_error, trio.Cancelled):
        service_errors.insert(0, body_error)
    if len(service_errors) == 1:
        raise service_errors[0]
    raise BaseExceptionGroup("a background task crashed", service_errors)


async def _stop_all(
    stop: Callable[[BaseException | None], Awaitable[None]], reason: BaseException | None
) -> BaseException | None:
    """Call ``stop`` until it is done; return what is to come out in the end, if anything."""
    if reason is None:
        try:
            await stop(None)
        except BaseException as error:  # cancelled meanwhile: no more patience
            reason = error
    while reason is not None:
        try:
            with trio.CancelScope(shield=True):
                await stop(reason)
            break
        except KeyboardInterrupt as error:  # Trio raises it in shields, too: somebody is out of patience
            reason = error
    return reason


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
