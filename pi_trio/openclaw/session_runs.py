"""Runs on a gateway's session: prompts, what they are told meanwhile, what is to follow, and how they end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from ..protocol import Record, ShapeError, structure
from .frames import GatewayEvent, GatewayResponse
from .history import HISTORY, messages_of, of_run
from .rows import SessionsPage
from .run import GatewayRun
from .translation import Answer, Step, Translation, failure, refusal, success, why_refused

__all__ = ["SessionRuns"]

# Sessions whose key contains that of ours; the one that was in use last comes first.
_LISTED = 20

# How long one question for the end of a run waits; it is asked again then. A timer of Node.js has 31 bits of milliseconds.
_WAIT_MS = 600_000

# How often the history is read for what a run was told: 20 s or more. A gateway begins with it within a second.
_LOOKS = 200

Sent = Callable[[str | None], Step]
"""What follows when the gateway has taken a message, or from why it has not."""


class SessionRuns(Translation):
    """Prompts, and what belongs to them. A gateway's queues are not Pi's: what is to follow a run waits here."""

    def __init__(self, key: str, prefix: str, *, make_id: Callable[[], str] | None = None) -> None:
        super().__init__(prefix, f"the gateway's session {key!r}")
        self.key = key
        self._make_id = make_id or _make_id
        self._run: GatewayRun | None = None
        self._said: list[Record] = []  # in the runs that this one follows
        self._steers: list[Record] = []  # for the run that the gateway has not taken yet, or for the next one
        self._follow_ups: deque[Record] = deque()
        self._waiting: list[Callable[[], Step]] = []  # for the end of the run
        self._has_queue_modes = True  # until a gateway says that it knows none
        self._looks = 0

    def _run_commands(self) -> dict[str, Callable[[Record], Step]]:
        return {
            "prompt": self._prompt,
            "steer": self._steer,
            "follow_up": self._follow_up,
            "clear_queue": self._clear_queue,
            "abort": self._abort,
        }

    # --- saying something ----------------------------------------------------------------------------

    def _prompt(self, command: Record) -> Step:
        if self._run is None:
            return self._begin(command, partial(self._begun, command))
        match command.get("streamingBehavior"):
            case "steer":
                return self._steer(command)
            case "followUp":
                return self._follow_up(command)
        return failure(command, "a run is going on")

    def _begun(self, command: Record, why_not: str | None) -> Step:
        if why_not is not None:
            self._run = None
            return failure(command, why_not)
        return success(command, {"disposition": "started"}) + Step(records=({"type": "agent_start"},))

    def _begin(self, command: Record, sent: Sent) -> Step:
        run = self._run = GatewayRun(self._make_id(), _text(command))

        def begun(why_not: str | None) -> Step:
            told = sent(why_not)
            if why_not is not None:
                return told
            run.accepted = True
            # A 2026.5 gateway says nothing when a run has failed: but it answers who asks for its end.
            watched = Step() if run.ended else self._wait_for_end(run)
            steers, self._steers = self._steers, []
            return sum((self._tell_run(run, each, lambda _: self._queue()) for each in steers), told + watched)

        return self._send(run.run_id, command, begun)

    def _steer(self, command: Record) -> Step:
        """A run that is not there yet is told when it is: as Pi keeps what it is told while it does nothing."""
        if self._run is None or not self._run.accepted:
            self._steers.append(command)
            return _queued(command) + self._queue()
        return self._tell_run(
            self._run, command, lambda why: _queued(command) if why is None else failure(command, why)
        )

    def _tell_run(self, run: GatewayRun, command: Record, sent: Sent) -> Step:
        id_ = self._make_id()
        run.steers[id_] = _text(command)

        def told(why_not: str | None) -> Step:
            if why_not is not None:
                run.steers.pop(id_, None)
            return sent(why_not) + (self._queue() if why_not is None else Step())

        return self._send(id_, command, told, queue_mode="steer")

    def _send(self, id_: str, command: Record, sent: Sent, *, queue_mode: str | None = None) -> Step:
        params: Record = {"sessionKey": self.key, "message": _text(command), "idempotencyKey": id_}
        if images := command.get("images"):
            params["attachments"] = [_attachment(image) for image in images]
        if queue_mode is not None and self._has_queue_modes:
            params["queueMode"] = queue_mode

        def answered(response: GatewayResponse) -> Step:
            if response.ok:
                taken = isinstance(response.payload, dict) and response.payload.get("runId") == id_
                return sent(None if taken else "the session has a run with this prompt going on")
            why = why_refused(response)
            if (
                "queueMode" in params and "queueMode" in why
            ):  # 2026.5: it steers, unless its session is set to do otherwise
                self._has_queue_modes = False
                return self._send(id_, command, sent)
            return sent(why)

        return self._ask("chat.send", params, answered)

    def _follow_up(self, command: Record) -> Step:
        self._follow_ups.append(command)
        return _queued(command) + self._queue()

    # --- what waits ----------------------------------------------------------------------------------

    def _steering(self) -> list[str]:
        return [*(self._run.untold.values() if self._run else ()), *map(_text, self._steers)]

    def _count_waiting(self) -> int:
        return len(self._steering()) + len(self._follow_ups)

    def _queue(self) -> Step:
        follow_ups = [_text(command) for command in self._follow_ups]
        return Step(records=({"type": "queue_update", "steering": self._steering(), "followUp": follow_ups},))

    def _clear_queue(self, command: Record) -> Step:
        """Take back what the run has not taken in. A 2026.5 gateway says that it has taken something back that the run
        gets all the same, so what it has is not asked for.
        """
        steering, follow_ups = [_text(each) for each in self._steers], [_text(each) for each in self._follow_ups]
        had_any = bool(steering or follow_ups)
        self._steers.clear()
        self._follow_ups.clear()
        untold = dict(self._run.untold) if self._run and self._has_queue_modes else {}
        left = len(untold)

        def cleared() -> Step:
            told = success(command, {"steering": steering, "followUp": follow_ups})
            return told + (self._queue() if had_any or untold else Step())

        def answered(id_: str, response: GatewayResponse) -> Step:
            nonlocal left
            left -= 1
            if _has_aborted(response):
                steering.append(untold[id_])
                self._forget(id_)
            return Step() if left else cleared()

        if not untold:
            return cleared()
        return sum((self._ask("chat.abort", self._to(id_), partial(answered, id_)) for id_ in untold), Step())

    def _forget(self, steer: str) -> None:
        if self._run is not None:
            self._run.steers.pop(steer, None)

    def _to(self, run_id: str | None) -> Record:
        return {"sessionKey": self.key} if run_id is None else {"sessionKey": self.key, "runId": run_id}

    # --- the end -------------------------------------------------------------------------------------

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
        self._looks = 0
        return self._look(run)

    def _look(self, run: GatewayRun) -> Step:
        def listed(response: GatewayResponse) -> Step:
            return _later(self._look(run)) if response.ok and self._is_busy(response.payload) else self._read(run)

        return self._ask("sessions.list", {"search": self.key, "limit": _LISTED}, listed)

    def _is_busy(self, payload: Any) -> bool:
        try:
            page = structure(payload, SessionsPage)
        except ShapeError:
            return False
        return any(row.busy for row in page.sessions if row.key == self.key)

    def _read(self, run: GatewayRun) -> Step:
        """Ask what was said in the end, and tell it."""

        def told(response: GatewayResponse) -> Step:
            said = of_run(messages_of(response.payload), run.run_id, run.prompt) if response.ok else []
            if response.ok and run.lacks(said) and self._looks < _LOOKS:
                self._looks += 1
                return _later(self._look(run))
            return self._finish(run, said)

        return self._ask("chat.history", {"sessionKey": self.key, "limit": HISTORY}, told)

    def _finish(self, run: GatewayRun, messages: list[Record]) -> Step:
        records, said = run.finish(messages)
        self._said += said
        waiting, self._waiting = self._waiting, []
        told = Step(records=tuple(records))
        if self._follow_ups:
            following = self._follow_ups.popleft()
            told += self._queue() + self._begin(following, self._followed)
        else:
            told += self._settle(run)
        return sum((then() for then in waiting), told)

    def _followed(self, why_not: str | None) -> Step:
        assert self._run is not None, "it has just begun"
        if why_not is None:
            return Step()
        self._run.fail(why_not)
        return self._finish(self._run, [])

    def _settle(self, run: GatewayRun) -> Step:
        said, self._said = self._said, []
        self._run = None
        end: Record = {"type": "agent_end", "messages": said, "willRetry": False}
        return Step(records=(end, {"type": "agent_settled", "aborted": run.aborted}))

    def _abort(self, command: Record) -> Step:
        """Without a run of ours: end whatever the session does."""

        def aborted(response: GatewayResponse) -> Step:
            return self._when_over(lambda: success(command)) if response.ok else refusal(command, response)

        return self._ask("chat.abort", self._to(self._run.run_id if self._run else None), aborted)

    def _interrupt(self, method: str, params: Record, answered: Answer, *, forget: bool = False) -> Step:
        """Ask for what ends a run of ours as well, and call ``answered`` when it has; ``forget`` what was to follow."""
        run = self._run
        if run is not None:
            run.interrupted = True

        def over(response: GatewayResponse) -> Step:
            if response.ok:
                if forget:
                    self._steers.clear()
                    self._follow_ups.clear()
                return self._when_over(partial(answered, response))
            if run is not None:
                run.interrupted = False
            return answered(response)

        return self._ask(method, params, over)

    def _when_over(self, then: Callable[[], Step]) -> Step:
        if self._run is None:
            return then()
        self._waiting.append(then)
        return Step()

    # --- what the gateway tells ----------------------------------------------------------------------

    def event(self, event: GatewayEvent) -> Step:
        """Events of other runs are nobody's here: they are somebody else's conversation."""
        run, payload = self._run, event.payload
        if run is None or event.event not in ("chat", "agent") or not isinstance(payload, dict):
            return Step()
        run_id = payload.get("runId")
        if run_id == run.run_id:
            had_ended = run.ended
            told = Step(records=tuple(run.take(event.event, payload)))
            return told + self._conclude(run) if run.ended and not had_ended else told
        if event.event == "chat":
            return self._queue() if isinstance(run_id, str) and run.has_told(run_id, payload) else Step()
        # What it could not be told any more, another run does. Gateways may choose that one's id themselves.
        return Step(records=tuple(run.take_agent(payload))) if run.ended and run.steers else Step()


def _make_id() -> str:
    return uuid4().hex


def _text(command: Record) -> str:
    return str(command.get("message", ""))


def _queued(command: Record) -> Step:
    return success(command, {"disposition": "queued"})


def _later(step: Step) -> Step:
    return Step(later=step.requests)


def _has_aborted(response: GatewayResponse) -> bool:
    return response.ok and isinstance(response.payload, dict) and response.payload.get("aborted") is True


def _attachment(image: Record) -> Record:
    return {"type": "image", "mimeType": image.get("mimeType"), "content": image.get("data")}
