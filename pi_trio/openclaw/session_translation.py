"""The translation for a session that the gateway runs: prompt, stream, abort, and how it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from ..errors import Unsupported
from ..protocol import Record, ShapeError, structure
from .frames import GatewayEvent, GatewayResponse
from .history import count, last_text, messages_of, of_run
from .rows import Described, SessionRow, SessionsPage
from .run import GatewayRun
from .translation import Step, Translation, failure, refusal, state_of, success

__all__ = ["SessionTranslation"]

# The most that every version gives at once.
_HISTORY = 1000

# Sessions whose key contains that of ours; the one that was in use last comes first.
_LISTED = 20

# How long one question for the end of a run waits; it is asked again then. A timer of Node.js has 31 bits of milliseconds.
_WAIT_MS = 600_000


class SessionTranslation(Translation):
    """For a session that the gateway runs: prompt, stream, abort, and how it is."""

    def __init__(self, key: str, prefix: str, *, make_id: Callable[[], str] = lambda: uuid4().hex) -> None:
        super().__init__(prefix, f"the gateway's session {key!r}")
        self.key = key
        self._make_id = make_id
        self._run: GatewayRun | None = None
        self._told_to_abort: list[Record] = []
        self._session_id = key  # until it is known
        self._supported: dict[str, Callable[[Record], Step]] = {
            "prompt": self._prompt,
            "abort": self._abort,
            "clear_queue": lambda command: success(command, {"steering": [], "followUp": []}),
            "get_state": self._get_state,
            "get_messages": partial(self._from_history, lambda said: {"messages": said}),
            "get_last_assistant_text": partial(self._from_history, lambda said: {"text": last_text(said)}),
            "get_session_stats": partial(self._from_history, lambda said: count(said, self._session_id)),
        }

    def _commands(self) -> dict[str, Callable[[Record], Step]]:
        return self._supported

    # --- how it is -----------------------------------------------------------------------------------

    def _get_state(self, command: Record) -> Step:
        def described(response: GatewayResponse) -> Step:
            if not response.ok:
                return refusal(command, response)
            try:
                row = structure(response.payload, Described).session
            except ShapeError as error:
                return failure(command, f"the gateway described the session in another way: {error}")
            return failure(command, f"there is no session {self.key!r}") if row is None else self._tell(command, row)

        return self._ask("sessions.describe", {"key": self.key}, described)

    def _tell(self, command: Record, row: SessionRow) -> Step:
        self._session_id = row.session_id or self.key
        provider, name = row.answers
        model = None if name is None else {"id": name, "provider": provider or ""}
        busy = self._run is not None or row.busy
        state = state_of(self._session_id, busy=busy, thinking=row.thinking_level, model=model)
        if row.label is not None:
            state["sessionName"] = row.label
        return success(command, state)

    def _from_history(self, make: Callable[[list[Record]], Record], command: Record) -> Step:
        def told(response: GatewayResponse) -> Step:
            if not response.ok:
                return refusal(command, response)
            return success(command, make(messages_of(response.payload)))

        return self._ask("chat.history", {"sessionKey": self.key, "limit": _HISTORY}, told)

    # --- a run ---------------------------------------------------------------------------------------

    def _prompt(self, command: Record) -> Step:
        if command.get("streamingBehavior") is not None:
            raise Unsupported("prompt with a streaming_behavior", self.where)
        if self._run is not None:
            return failure(command, "a run is going on")
        run = GatewayRun(self._make_id(), str(command.get("message", "")))
        params: Record = {"sessionKey": self.key, "message": run.prompt, "idempotencyKey": run.run_id}
        if images := command.get("images"):
            params["attachments"] = [_attachment(image) for image in images]
        self._run = run
        return self._ask("chat.send", params, lambda response: self._sent(command, run, response))

    def _sent(self, command: Record, run: GatewayRun, response: GatewayResponse) -> Step:
        if not response.ok:
            self._run = None
            return refusal(command, response)
        if not isinstance(response.payload, dict) or response.payload.get("runId") != run.run_id:
            self._run = None
            return failure(command, "the session has a run with this prompt going on")
        started = success(command, {"disposition": "started"}) + Step(records=({"type": "agent_start"},))
        # A 2026.5 gateway says nothing when a run has failed: but it answers who asks for its end.
        return started if run.ended else started + self._wait_for_end(run)

    def _wait_for_end(self, run: GatewayRun) -> Step:
        def over(response: GatewayResponse) -> Step:
            if self._run is not run or run.ended:
                return Step()
            if response.ok and isinstance(response.payload, dict) and response.payload.get("status") == "timeout":
                return self._wait_for_end(run)
            return self._conclude(run) if response.ok else Step()

        return self._ask("agent.wait", {"runId": run.run_id, "timeoutMs": _WAIT_MS}, over)

    def _conclude(self, run: GatewayRun) -> Step:
        """Wait until the session takes another prompt.

        A 2026.5 gateway tells the end of a run up to 2 seconds before that; a prompt that comes in between is put
        into a queue, from where it is run under another id, or taken for the same one.
        """
        run.ended = True
        params = {"search": self.key, "limit": _LISTED}

        def listed(response: GatewayResponse) -> Step:
            if response.ok and self._is_busy(response.payload):
                asked = self._ask("sessions.list", params, listed)
                return Step(later=asked.requests)
            return self._settle(run)

        return self._ask("sessions.list", params, listed)

    def _is_busy(self, payload: Any) -> bool:
        try:
            page = structure(payload, SessionsPage)
        except ShapeError:
            return False
        return any(row.busy for row in page.sessions if row.key == self.key)

    def _settle(self, run: GatewayRun) -> Step:
        """Ask what was said in the end, and tell it."""

        def told(response: GatewayResponse) -> Step:
            said = of_run(messages_of(response.payload), run.run_id, run.prompt) if response.ok else []
            self._run = None
            waiting, self._told_to_abort = self._told_to_abort, []
            return sum(map(success, waiting), Step(records=tuple(run.settle(said))))

        return self._ask("chat.history", {"sessionKey": self.key, "limit": _HISTORY}, told)

    def _abort(self, command: Record) -> Step:
        params: Record = {"sessionKey": self.key}
        if self._run is not None:
            params["runId"] = self._run.run_id

        def aborted(response: GatewayResponse) -> Step:
            if not response.ok:
                return refusal(command, response)
            if self._run is None:
                return success(command)
            self._told_to_abort.append(command)  # it is over when the run is
            return Step()

        return self._ask("chat.abort", params, aborted)

    def event(self, event: GatewayEvent) -> Step:
        """Events of other runs are nobody's here: they are somebody else's conversation."""
        run, payload = self._run, event.payload
        if run is None or event.event not in ("chat", "agent") or not isinstance(payload, dict):
            return Step()
        if payload.get("runId") != run.run_id:
            return Step()
        had_ended = run.ended
        told = Step(records=tuple(run.take(event.event, payload)))
        return told + self._conclude(run) if run.ended and not had_ended else told


def _attachment(image: Record) -> Record:
    return {"type": "image", "mimeType": image.get("mimeType"), "content": image.get("data")}
