"""The translation for a session of a Pi that the gateway does not run, but knows of: the gateway goes on with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..errors import Unsupported
from ..protocol import Record, ShapeError, structure
from .catalog import PI_CATALOG, following, locate, rows_of
from .frames import GatewayEvent, GatewayResponse
from .history import assistant, last_text
from .rows import CatalogItem, CatalogPart, CatalogRow, CatalogsPage, Continued
from .session_translation import SessionTranslation
from .translation import Step, Translation, failure, state_of, success, why_refused

__all__ = ["CatalogTranslation"]

# The roles of what was said; the rest of it has no shape that is documented.
_ROLES = {"userMessage": "user", "agentMessage": "assistant"}

Found = Callable[[str, CatalogRow], Step]
"""What follows from finding the row of a host."""


class CatalogTranslation(Translation):
    """For a session of a Pi that the gateway does not run, but knows of.

    It is looked at where it is. The first command that wants more has the gateway make a session of its own, which goes
    on with that one, and is meant from then on; where it cannot (not ``usable``), that is :class:`Unsupported`.
    """

    def __init__(self, thread_id: str, prefix: str, *, usable: bool = False) -> None:
        super().__init__(prefix, f"the session {thread_id!r} of the gateway's catalog {PI_CATALOG!r}")
        self._thread_id = thread_id
        self._session: SessionTranslation | None = None
        self._waiting: list[Record] = []  # for that session
        looks: dict[str, Callable[[Record], Step]] = {
            "get_state": self._get_state,
            "get_messages": partial(self._read, lambda said: {"messages": said}),
            "get_last_assistant_text": partial(self._read, lambda said: {"text": last_text(said)}),
        }
        uses = dict.fromkeys(SessionTranslation("", "")._commands(), self._use) if usable else {}
        self._supported: dict[str, Callable[[Record], Step]] = {**uses, **looks}

    def _commands(self) -> dict[str, Callable[[Record], Step]]:
        return self._supported

    def command(self, command: Record) -> Step:
        """See :meth:`Translation.command`."""
        return super().command(command) if self._session is None else self._session.command(command)

    def response(self, response: GatewayResponse) -> Step:
        """See :meth:`Translation.response`."""
        if self._session is not None and response.id.startswith(self._session.prefix):
            return self._session.response(response)
        return super().response(response)

    def event(self, event: GatewayEvent) -> Step:
        """The gateway tells nothing of what it does not run."""
        return Step() if self._session is None else self._session.event(event)

    # --- looking at it -------------------------------------------------------------------------------

    def _find(self, found: Found, failed: Callable[[str], Step], cursors: dict[str, str] | None = None) -> Step:
        def listed(response: GatewayResponse) -> Step:
            if not response.ok:
                return failed(why_refused(response))
            try:
                page = structure(response.payload, CatalogsPage)
            except ShapeError as error:
                return failed(f"the gateway listed the catalog in another way: {error}")
            for host, row in rows_of(page):
                if row.thread_id == self._thread_id:
                    return found(host, row)
            if (why := page.missing) is not None:
                return failed(f"the gateway cannot list the catalog {PI_CATALOG!r} now: {why}")
            if (later := following(page)) and later != cursors:
                return self._find(found, failed, later)
            return failed(f"there is no session {self._thread_id!r} in the catalog {PI_CATALOG!r}")

        return self._ask("sessions.catalog.list", locate(cursors or {}), listed)

    def _get_state(self, command: Record) -> Step:
        def found(_: str, row: CatalogRow) -> Step:
            if row.session_key is not None:
                return self._become(row.session_key, command)
            return success(command, state_of(row.thread_id, busy=row.status in ("running", "active")))

        return self._find(found, partial(failure, command))

    def _read(self, make: Callable[[list[Record]], Record], command: Record) -> Step:
        said: list[CatalogItem] = []  # the last word first

        def found(host: str, row: CatalogRow, cursor: str | None = None) -> Step:
            if row.session_key is not None:
                return self._become(row.session_key, command)

            def told(response: GatewayResponse) -> Step:
                if not response.ok:
                    return failure(command, why_refused(response))
                try:
                    part = structure(response.payload, CatalogPart)
                except ShapeError as error:
                    return failure(command, f"the gateway read the session in another way: {error}")
                said.extend(part.items)
                if part.items and part.next_cursor and part.next_cursor != cursor:
                    return found(host, row, part.next_cursor)
                return success(command, make([_message(item) for item in reversed(said) if item.type in _ROLES]))

            more = {} if cursor is None else {"cursor": cursor}
            return self._ask("sessions.catalog.read", {**_locator(host, row), **more}, told)

        return self._find(found, partial(failure, command))

    # --- going on with it ----------------------------------------------------------------------------

    def _use(self, command: Record) -> Step:
        self._waiting.append(command)
        return self._find(self._continue, self._refuse) if len(self._waiting) == 1 else Step()

    def _continue(self, host: str, row: CatalogRow) -> Step:
        if row.session_key is not None:
            return self._become(row.session_key)

        def continued(response: GatewayResponse) -> Step:
            if not response.ok:
                return self._refuse(why_refused(response))
            try:
                return self._become(structure(response.payload, Continued).session_key)
            except ShapeError as error:
                return self._refuse(f"the gateway continued the session in another way: {error}")

        return self._ask("sessions.catalog.continue", _locator(host, row), continued)

    def _become(self, key: str, *commands: Record) -> Step:
        if self._session is None:
            self._session = SessionTranslation(key, f"{self.prefix}c")
            self.session_key = key
        waiting, self._waiting = [*self._waiting, *commands], []
        return sum(map(self._late, waiting), Step())

    def _late(self, command: Record) -> Step:
        assert self._session is not None, "it has just been made"
        try:
            return self._session.command(command)
        except Unsupported as error:  # it was taken before anybody could know
            return failure(command, str(error))

    def _refuse(self, why: str) -> Step:
        waiting, self._waiting = self._waiting, []
        return sum((failure(command, why) for command in waiting), Step())


def _locator(host: str, row: CatalogRow) -> Record:
    home = {} if row.source_home_id is None else {"sourceHomeId": row.source_home_id}
    return {"catalogId": PI_CATALOG, "hostId": host, "threadId": row.thread_id, **home}


def _message(item: CatalogItem) -> Record:
    message: Record = {"role": _ROLES[item.type], "content": [{"type": "text", "text": item.text or ""}]}
    return assistant(message) if message["role"] == "assistant" else message
