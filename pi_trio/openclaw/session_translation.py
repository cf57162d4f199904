"""The translation for a session that the gateway runs: everything that a gateway has a counterpart of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..protocol import Record
from .frames import GatewayResponse
from .history import HISTORY, count, last_text, messages_of
from .rows import SessionRow
from .session_runs import SessionRuns
from .session_settings import SessionSettings
from .translation import Step, refusal, state_of, success

__all__ = ["SessionTranslation"]


class SessionTranslation(SessionRuns, SessionSettings):
    """For a session that the gateway runs: its runs, its settings, and how it is."""

    def __init__(self, key: str, prefix: str, *, make_id: Callable[[], str] | None = None) -> None:
        super().__init__(key, prefix, make_id=make_id)
        self.session_key = key
        self._session_id = key  # until it is known
        self._supported: dict[str, Callable[[Record], Step]] = {
            **self._run_commands(),
            **self._setting_commands(),
            "get_state": lambda command: self._row(command, self._tell),
            "get_messages": partial(self._from_history, lambda said: {"messages": said}),
            "get_last_assistant_text": partial(self._from_history, lambda said: {"text": last_text(said)}),
            "get_session_stats": partial(self._from_history, lambda said: count(said, self._session_id)),
        }

    def _commands(self) -> dict[str, Callable[[Record], Step]]:
        return self._supported

    def _tell(self, command: Record, row: SessionRow) -> Step:
        self._session_id = row.session_id or self.key
        provider, name = row.answers
        model = None if name is None else {"id": name, "provider": provider or ""}
        busy = self._run is not None or row.busy
        state = state_of(self._session_id, busy=busy, thinking=row.thinking, model=model, pending=self._count_waiting())
        if row.label is not None:
            state["sessionName"] = row.label
        return success(command, state)

    def _from_history(self, make: Callable[[list[Record]], Record], command: Record) -> Step:
        def told(response: GatewayResponse) -> Step:
            if not response.ok:
                return refusal(command, response)
            return success(command, make(messages_of(response.payload)))

        return self._ask("chat.history", {"sessionKey": self.key, "limit": HISTORY}, told)
