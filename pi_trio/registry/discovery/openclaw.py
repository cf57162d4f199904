"""The sessions of an OpenClaw gateway."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from ...abc import Discovery, Found, Mode, Profile, Sightings
from ...client import PiClient, RemoteOptions
from ...errors import ConnectFailed
from ...openclaw import (
    PI_CATALOG,
    READ,
    WRITE,
    CatalogRow,
    CatalogTranslation,
    Gateway,
    GatewayOptions,
    SessionRow,
    SessionsPage,
    SessionTranslation,
    Translation,
    catalogued,
    open_gateway,
    session_client,
)
from ...protocol import Record
from ...transport import check_url

__all__ = ["OpenClawDiscovery"]

# What every version takes, and what the later ones do. A gateway refuses a filter that it does not know, so one that
# is newer than the gateway is left out there, and done here where it can be.
_FILTERS = frozenset({"limit", "activeMinutes", "label", "search", "agentId", "includeGlobal", "includeUnknown"})
_LATER_FILTERS = frozenset({"archived", "activeOnly", "sortBy"})
# Told only by the gateways that know them: sessions have had branches for as long.
_LATER = "sessions.branches.list"

_PAGE = 100

# How often pages are turned until they add up.
_ATTEMPTS = 3

# What changes comes in bursts: one more look serves all of one.
_SETTLE = 0.2


class OpenClawDiscovery(Discovery):
    """The sessions of the OpenClaw gateway at ``url``, as members: they can be prompted, streamed and aborted.

    It lists them, again whenever the gateway says that something changed, and every ``period`` seconds. A gateway that is
    lost is a failure of the discovery: its breaker decides when to try again; what was found stays until then. All clients
    to its sessions share the discovery's one connection. They can do what a gateway's own chat can, and raise
    :class:`Unsupported` for the rest.

    An instance's id is ``"<name>/<session key>"``; its tags are ``openclaw``, ``kind:<kind>`` and ``agent:<agent>``, besides
    the ``tags`` given. Sessions of Pis that the gateway knows of without running them (its catalog ``pi``, where it has
    one) are ``"<name>/pi/<thread>"``, tagged ``kind:pi``. Those that the gateway can go on with in a session of its own are
    used so, from the first prompt on; the others can be seen, but not used, and so are not selectable.

    Args:
        url: ``ws://host:port``, or ``wss://``.
        token: what the gateway asks for.
        name: the discovery's name; by default ``openclaw:<host>:<port>``.
        kinds: only sessions of these kinds (``direct``, ``group``, ...; ``pi`` for the catalog); ``None`` for all.
        filters: for the gateway's own filter: ``label``, ``search``, ``agentId``, ``activeMinutes``, ``limit`` (of a page),
            ``includeGlobal``, ``includeUnknown``; ``archived``, ``activeOnly`` and ``sortBy`` where it is new enough.
        accept: asked about each row that came through; what it refuses is not found.
        catalog: whether to look at the catalog.
        period: seconds between two lists when nothing changes.
        region, capabilities, tags: of every session's :class:`Profile`.
        scopes: the rights to ask for; without ``operator.write``, sessions can be seen, but not prompted.
        options: everything else about the connection; ``token`` and ``scopes`` are put in.

    Raises:
        ValueError: there is no such filter, or that is no such URL.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        name: str | None = None,
        kinds: Iterable[str] | None = None,
        filters: Mapping[str, Any] | None = None,
        accept: Callable[[SessionRow], bool] = lambda _: True,
        catalog: bool = True,
        period: float = 30.0,
        region: str | None = None,
        capabilities: Iterable[str] = (),
        tags: Iterable[str] = (),
        scopes: Iterable[str] = (READ, WRITE),
        options: GatewayOptions | None = None,
    ) -> None:
        parts = check_url(url, token)
        if not period > 0:
            raise ValueError(f"period must be positive, not {period!r}")
        self._url = url
        self._name = f"openclaw:{parts.netloc.rpartition('@')[2]}" if name is None else name
        self._options = attrs.evolve(options or GatewayOptions(), token=token, scopes=scopes)
        self._kinds = None if kinds is None else frozenset(kinds)
        self._filters = _checked(filters or {})
        self._accept = accept
        self._catalog = catalog
        self._period = period
        mode = Mode.LOCAL if _is_loopback(parts.hostname or "") else Mode.REMOTE
        self._profile = Profile(mode=mode, url=url, region=region, capabilities=capabilities, tags=tags)
        self._models: dict[str, tuple[str | None, str | None]] = {}  # that answered in each session last
        self._threads: tuple[CatalogRow, ...] = ()  # of the catalog, when it was told last
        self._gateway: Gateway | None = None
        self._why_not = "the discovery does not run"

    @property
    def name(self) -> str:
        """As it was given; by default, that of the gateway."""
        return self._name

    @property
    def gateway(self) -> Gateway | None:
        """The connection, while there is one."""
        return self._gateway

    # --- finding -------------------------------------------------------------------------------------

    async def run(self, sightings: Sightings) -> None:
        """Be connected, and tell what there is, until cancelled.

        Raises:
            ConnectFailed: nobody answers, or the gateway does not let us in.
            ConnectionLost: the gateway is gone.
            MissingScope, GatewayError: it does not let us list its sessions.
        """
        try:
            async with open_gateway(self._url, self._options) as gateway:
                self._gateway = gateway
                await self._follow(gateway, sightings)
        except Exception as error:
            self._why_not = str(error)
            raise
        finally:
            self._gateway = None

    async def _follow(self, gateway: Gateway, sightings: Sightings) -> None:
        failures: list[Exception] = []  # raised in the nursery, they would come out in a group

        async def look() -> None:
            try:
                await self._look(gateway, sightings)
            except Exception as error:
                failures.append(error)
            nursery.cancel_scope.cancel()

        async def watch() -> None:
            # Whoever asks something when the connection goes knows less of why than the connection.
            failures.insert(0, await gateway.wait_closed())
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            nursery.start_soon(watch)
        raise failures[0]

    async def _look(self, gateway: Gateway, sightings: Sightings) -> None:
        changed = trio.Event()

        def note(event: Any) -> None:
            if event.event == "sessions.changed":
                changed.set()

        gateway.on_event(note)
        await gateway.request("sessions.subscribe", {})
        while True:
            changed = trio.Event()
            sightings.snapshot(await self._list(gateway))
            with trio.move_on_after(self._period):
                await changed.wait()
                await trio.sleep(_SETTLE)

    async def _list(self, gateway: Gateway) -> list[Found]:
        sessions = {row.key: row for row in await self._sessions(gateway)}
        threads = await self._threads_of(gateway)
        followed = {row.session_key for row in threads}
        rows = [row for key, row in sessions.items() if key not in followed and self._takes(row)]
        return [*map(self._found, rows), *(self._seen(row, sessions.get(row.session_key or "")) for row in threads)]

    def _takes(self, row: SessionRow) -> bool:
        return (self._kinds is None or row.kind in self._kinds) and self._accept(row)

    async def _threads_of(self, gateway: Gateway) -> tuple[CatalogRow, ...]:
        """The catalog's sessions: those of before, while the gateway cannot tell them."""
        if self._catalog and (self._kinds is None or PI_CATALOG in self._kinds):
            told = await catalogued(gateway)
            self._threads = self._threads if told is None else told
        return self._threads

    async def _sessions(self, gateway: Gateway) -> Collection[SessionRow]:
        """All sessions. What goes while pages are turned moves the others, and one of them may not be seen."""
        rows: dict[str, SessionRow] = {}
        for _ in range(_ATTEMPTS):
            rows, adds_up = await self._pages(gateway)
            if adds_up:
                break
        self._models = {key: self._models[key] for key in rows if key in self._models}
        return [row for row in rows.values() if self._passes(row)]

    def _passes(self, row: SessionRow) -> bool:
        """What the later filters mean, for the gateways that do not know them."""
        if bool(row.archived) != self._filters.get("archived", False):
            return False
        return row.busy or not self._filters.get("activeOnly", False)

    async def _pages(self, gateway: Gateway) -> tuple[dict[str, SessionRow], bool]:
        """The sessions by their keys, and whether they are as many as each page said."""
        params = {"limit": _PAGE, **self._filters_for(gateway)}
        pages = [await gateway.ask("sessions.list", params, SessionsPage)]
        offset = 0
        while pages[-1].has_more and (following := pages[-1].next_offset or 0) > offset:
            offset = following
            pages.append(await gateway.ask("sessions.list", {**params, "offset": offset}, SessionsPage))
        rows = {row.key: row for page in pages for row in page.sessions}
        return rows, all(page.total_count in (None, len(rows)) for page in pages)

    def _filters_for(self, gateway: Gateway) -> Record:
        later = _LATER in gateway.hello.features.methods
        return {key: value for key, value in self._filters.items() if later or key not in _LATER_FILTERS}

    def _found(self, row: SessionRow) -> Found:
        agent = {f"agent:{row.agent}"} if row.agent else set()
        profile = self._tagged({f"kind:{row.kind or 'unknown'}"} | agent)
        return Found(f"{self._name}/{row.key}", *self._answers(row), profile)

    def _answers(self, row: SessionRow) -> tuple[str | None, str | None]:
        provider, model = row.answers
        if model is None:
            provider, model = self._models.get(row.key, (provider, model))
        self._models[row.key] = provider, model
        return provider, model

    def _seen(self, row: CatalogRow, session: SessionRow | None) -> Found:
        """A thread stays the same member when the gateway goes on with it in a ``session`` of its own."""
        usable = row.session_key is not None or row.can_continue is True
        profile = attrs.evolve(self._tagged({f"kind:{PI_CATALOG}"}), selectable=usable)
        provider, model = (row.model_provider, None) if session is None else self._answers(session)
        return Found(f"{self._name}/{PI_CATALOG}/{row.thread_id}", provider, model, profile)

    def _tagged(self, tags: set[str]) -> Profile:
        return attrs.evolve(self._profile, tags={"openclaw", *self._profile.tags, *tags})

    # --- using ---------------------------------------------------------------------------------------

    def opener(self, found: Found) -> Callable[[], AbstractAsyncContextManager[PiClient]]:
        """A client to one of the sessions, over the discovery's own connection to the gateway."""
        key = found.instance_id.removeprefix(f"{self._name}/")
        translate: Callable[[str], Translation] = partial(SessionTranslation, key)
        if key.startswith(f"{PI_CATALOG}/"):
            usable = found.profile.selectable
            translate = partial(CatalogTranslation, key.removeprefix(f"{PI_CATALOG}/"), usable=usable)
        options = RemoteOptions(request_timeout=self._options.request_timeout)
        return partial(session_client, self._connected, translate, name=found.instance_id, options=options)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Gateway]:
        await trio.lowlevel.checkpoint()
        if self._gateway is None:
            raise ConnectFailed(self._url, self._why_not)
        yield self._gateway


def _checked(filters: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(filters) - _FILTERS - _LATER_FILTERS
    if unknown:
        known = ", ".join(sorted(_FILTERS | _LATER_FILTERS))
        raise ValueError(f"a gateway has no filter {', '.join(sorted(unknown))} (there are: {known})")
    return dict(filters)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
