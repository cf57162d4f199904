"""The translation for a session of a Pi that the gateway knows of, but does not run: only how it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..protocol import Record, ShapeError, structure
from .frames import GatewayEvent, GatewayResponse
from .rows import CatalogRow, CatalogsPage
from .translation import Step, Translation, failure, refusal, state_of, success

__all__ = ["CatalogTranslation"]


class CatalogTranslation(Translation):
    """For a session of a Pi that the gateway knows of, but does not run: only how it is."""

    def __init__(self, catalog_id: str, thread_id: str, prefix: str) -> None:
        super().__init__(prefix, f"the session {thread_id!r} of the gateway's catalog {catalog_id!r}")
        self._catalog_id = catalog_id
        self._thread_id = thread_id

    def _commands(self) -> dict[str, Callable[[Record], Step]]:
        return {"get_state": self._get_state}

    def _get_state(self, command: Record) -> Step:
        def listed(response: GatewayResponse) -> Step:
            if not response.ok:
                return refusal(command, response)
            try:
                page = structure(response.payload, CatalogsPage)
            except ShapeError as error:
                return failure(command, f"the gateway listed the catalog in another way: {error}")
            for row in _rows(page):
                if row.thread_id == self._thread_id:
                    return success(command, state_of(row.thread_id, busy=row.status in ("running", "active")))
            return failure(command, f"there is no session {self._thread_id!r} in the catalog {self._catalog_id!r}")

        return self._ask("sessions.catalog.list", {"catalogId": self._catalog_id}, listed)

    def event(self, _: GatewayEvent) -> Step:
        """The gateway tells nothing of what it does not run."""
        return Step()


def _rows(page: CatalogsPage) -> Iterable[CatalogRow]:
    return (row for catalog in page.catalogs for host in catalog.hosts for row in host.sessions)
