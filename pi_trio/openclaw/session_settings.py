"""What a gateway's session is like: its model, how hard that thinks, its name; and what becomes of its history."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import Unsupported
from ..protocol import Record, ShapeError, structure
from .frames import GatewayResponse
from .rows import CommandsPage, Described, ModelRow, ModelsPage, SessionRow
from .translation import Answer, Step, Translation, failure, refusal, success

__all__ = ["SessionSettings"]

# From the least to the most.
_LEVELS = ("off", "minimal", "low", "medium", "high", "xhigh", "max")


class SessionSettings(Translation):
    """Settings and maintenance. A gateway asks for more rights for most of it: see ``docs/registry.md``."""

    key: str

    def _setting_commands(self) -> dict[str, Callable[[Record], Step]]:
        return {
            "get_available_models": lambda command: self._models(command, self._tell_models),
            "set_model": lambda command: self._models(command, self._set_model),
            "cycle_model": lambda command: self._models(command, self._cycle_model),
            "get_available_thinking_levels": lambda command: self._row(command, self._tell_levels),
            "set_thinking_level": lambda command: self._row(command, self._set_level),
            "cycle_thinking_level": lambda command: self._row(command, self._cycle_level),
            "set_session_name": self._set_name,
            "get_commands": self._get_commands,
            "compact": self._compact,
            "new_session": self._new_session,
        }

    def _inquire(self, command: Record, method: str, params: Record, cls: Any, then: Callable[[Any], Step]) -> Step:
        def answered(response: GatewayResponse) -> Step:
            if not response.ok:
                return refusal(command, response)
            try:
                payload = structure(response.payload, cls)
            except ShapeError as error:
                return failure(command, f"the gateway answered {method} in another way: {error}")
            return then(payload)

        return self._ask(method, params, answered)

    def _row(self, command: Record, then: Callable[[Record, SessionRow], Step]) -> Step:
        def described(answer: Described) -> Step:
            row = answer.session
            return failure(command, f"there is no session {self.key!r}") if row is None else then(command, row)

        return self._inquire(command, "sessions.describe", {"key": self.key}, Described, described)

    def _patch(self, command: Record, changes: Record, data: Any = None) -> Step:
        def patched(response: GatewayResponse) -> Step:
            return success(command, data) if response.ok else refusal(command, response)

        return self._ask("sessions.patch", {"key": self.key, **changes}, patched)

    # --- models --------------------------------------------------------------------------------------

    def _models(self, command: Record, then: Callable[[Record, Sequence[ModelRow]], Step]) -> Step:
        def listed(page: ModelsPage) -> Step:
            return then(command, [row for row in page.models if row.available is not False])

        return self._inquire(command, "models.list", {}, ModelsPage, listed)

    def _tell_models(self, command: Record, rows: Sequence[ModelRow]) -> Step:
        return success(command, {"models": [row.as_pi for row in rows]})

    def _set_model(self, command: Record, rows: Sequence[ModelRow]) -> Step:
        """A gateway takes any name for a model, and fails at the next prompt: so it is looked up before."""
        wanted = (command.get("provider"), command.get("modelId"))
        for row in rows:
            if (row.provider, row.id) == wanted:
                return self._patch(command, {"model": row.ref}, row.as_pi)
        return failure(command, f"Model not found: {wanted[0]}/{wanted[1]}")

    def _cycle_model(self, command: Record, rows: Sequence[ModelRow]) -> Step:
        if len(rows) < 2:
            return success(command)

        def cycle(_: Record, session: SessionRow) -> Step:
            refs = [row.ref for row in rows]
            current = f"{session.model_provider}/{session.model}"
            row = rows[(refs.index(current) + 1) % len(rows) if current in refs else 0]
            cycled = {"model": row.as_pi, "thinkingLevel": session.thinking, "isScoped": False}
            return self._patch(command, {"model": row.ref}, cycled)

        return self._row(command, cycle)

    # --- thinking ------------------------------------------------------------------------------------

    def _tell_levels(self, command: Record, row: SessionRow) -> Step:
        return success(command, {"levels": list(row.levels)})

    def _set_level(self, command: Record, row: SessionRow) -> Step:
        return self._patch(command, {"thinkingLevel": _nearest(str(command.get("level")), row.levels)})

    def _cycle_level(self, command: Record, row: SessionRow) -> Step:
        levels = row.levels
        if len(levels) < 2:
            return success(command)
        level = levels[(levels.index(row.thinking) + 1) % len(levels) if row.thinking in levels else 0]
        return self._patch(command, {"thinkingLevel": level}, {"level": level})

    # --- the session itself --------------------------------------------------------------------------

    def _set_name(self, command: Record) -> Step:
        name = str(command.get("name", "")).strip()
        return self._patch(command, {"label": name}) if name else failure(command, "Session name cannot be empty")

    def _get_commands(self, command: Record) -> Step:
        def listed(page: CommandsPage) -> Step:
            return success(command, {"commands": [row.as_pi for row in page.commands]})

        return self._inquire(command, "commands.list", {"scope": "text"}, CommandsPage, listed)

    def _compact(self, command: Record) -> Step:
        if command.get("customInstructions") is not None:
            raise Unsupported("compact with custom_instructions", self.where)

        def compacted(response: GatewayResponse) -> Step:
            if not response.ok:
                return _compaction_end(error="refused") + refusal(command, response)
            payload = response.payload if isinstance(response.payload, dict) else {}
            result = payload.get("result")
            if payload.get("compacted") is True and isinstance(result, dict):
                return _compaction_end(result=result) + success(command, result)
            why = str(payload.get("reason") or "the gateway does not say why")
            return _compaction_end(error=why) + failure(command, f"it was not compacted: {why}")

        started = Step(records=({"type": "compaction_start", "reason": "manual"},))
        return started + self._interrupt("sessions.compact", {"key": self.key}, compacted)

    def _new_session(self, command: Record) -> Step:
        """Its history is put away; the key, the name and the model stay."""
        if command.get("parentSession") is not None:
            raise Unsupported("new_session with a parent_session", self.where)

        def begun(response: GatewayResponse) -> Step:
            return success(command, {"cancelled": False}) if response.ok else refusal(command, response)

        return self._interrupt("sessions.reset", {"key": self.key, "reason": "new"}, begun, forget=True)

    @abstractmethod
    def _interrupt(self, method: str, params: Record, answered: Answer, *, forget: bool = False) -> Step:
        """Ask for what ends a run as well, and call ``answered`` when it has; ``forget`` what was to follow."""


def _nearest(level: str, levels: Sequence[str]) -> str:
    """The level that is there, and nearest to this one: the lower of two. One that nobody knows is left as it is."""
    known = [each for each in levels if each in _LEVELS]
    if level in levels or level not in _LEVELS or not known:
        return level
    wanted = _LEVELS.index(level)
    return min(known, key=lambda each: (abs(_LEVELS.index(each) - wanted), _LEVELS.index(each)))


def _compaction_end(*, result: Record | None = None, error: str | None = None) -> Step:
    record: Record = {"type": "compaction_end", "reason": "manual", "aborted": False, "willRetry": False}
    if result is not None:
        record["result"] = result
    if error is not None:
        record["errorMessage"] = error
    return Step(records=(record,))
