"""The catalog of the sessions of Pis that a gateway does not run itself, but knows of."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import GatewayError, MissingScope
from ..protocol import Record
from .gateway import Gateway
from .options import READ
from .rows import Catalog, CatalogRow, CatalogsPage

__all__ = ["PI_CATALOG", "catalogued", "following", "locate", "rows_of"]

PI_CATALOG = "pi"
"""What a gateway calls it."""

# What a gateway says that has no plugin with such a catalog, or is too old for any.
_UNKNOWN = ("unknown session catalog", "unknown method")


async def catalogued(gateway: Gateway) -> tuple[CatalogRow, ...] | None:
    """All of them, those that were archived left out; ``None`` when the gateway cannot tell all of them now.

    Raises:
        MissingScope: there is no right to list sessions.
    """
    cursors: dict[str, str] = {}
    rows: dict[tuple[str, str], CatalogRow] = {}
    while True:
        page = await _page(gateway, cursors)
        if page is None or page.missing is not None:
            return None
        known = len(rows)
        rows |= {(host, row.thread_id): row for host, row in rows_of(page)}
        cursors = following(page)
        if not cursors or len(rows) == known:  # one that turns in a circle has told everything
            return tuple(row for row in rows.values() if not row.archived)


async def _page(gateway: Gateway, cursors: dict[str, str]) -> CatalogsPage | None:
    try:
        return await gateway.ask("sessions.catalog.list", locate(cursors), CatalogsPage)
    except MissingScope as error:
        # A gateway that has no such method asks for the highest right: it might be an administrator's.
        if error.scope == READ:
            raise
        return CatalogsPage()
    except GatewayError as error:
        return CatalogsPage() if error.error.startswith(_UNKNOWN) else None


def locate(cursors: dict[str, str]) -> Record:
    """The parameters for one page: the first, or where ``cursors`` say for each host."""
    more = {"cursors": cursors, "hostIds": list(cursors)} if cursors else {}
    return {"catalogId": PI_CATALOG, **more}


def rows_of(page: CatalogsPage) -> Iterable[tuple[str, CatalogRow]]:
    """Each row with the id of its host."""
    return ((host.host_id, row) for each in _pi(page) for host in each.hosts for row in host.sessions)


def following(page: CatalogsPage) -> dict[str, str]:
    """Where each host goes on that has more."""
    hosts = (host for each in _pi(page) for host in each.hosts)
    return {host.host_id: host.next_cursor for host in hosts if host.next_cursor}


def _pi(page: CatalogsPage) -> Iterable[Catalog]:
    return (each for each in page.catalogs if each.id == PI_CATALOG)
