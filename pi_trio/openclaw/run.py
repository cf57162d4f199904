"""One run on a gateway, as a Pi would tell it.

A gateway tells a run twice: as ``agent`` events, each step of each message and tool; and as ``chat`` events, the text
so far and how it ended. Neither says what the messages were in the end, nor what they cost: that is in the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..protocol import Record
from .history import assistant, said_in

__all__ = ["GatewayRun"]

_ENDINGS = frozenset({"final", "aborted", "error"})

# How a tool's phases are told by Pi.
_TOOL_PHASES = {"start": "tool_execution_start", "update": "tool_execution_update", "result": "tool_execution_end"}


class GatewayRun:
    """Makes Pi's events of a run's events. :attr:`ended` says that the history is to be asked for."""

    def __init__(self, run_id: str, prompt: str) -> None:
        self.run_id = run_id
        self.prompt = prompt
        self.accepted = False
        """Whether the gateway has taken the prompt."""
        self.ended = False
        """Whether the gateway has said that it is over."""
        self.steers: dict[str, str] = {}
        """What it was told meanwhile, by the ids under which that was sent."""
        self.interrupted = False
        """Whether something was asked for that ends it."""
        self._told: set[str] = set()  # which of these it has taken in
        self._ending: Record = {}
        self._text = ""
        self._thinking = ""
        self._shown: list[str] = []  # the text so far of each message whose beginning was told
        self._in_detail = False  # whether the agent's own events come
        self._was_run = False  # whether the agent said anything at all

    def take(self, event: str, payload: Record) -> list[Record]:
        """Take what the gateway tells of this run; return what a Pi would."""
        if event == "chat":
            return self._take_chat(payload)
        self._was_run = True
        return self.take_agent(payload)

    def take_agent(self, payload: Record) -> list[Record]:
        """Take what an agent tells, be it in a run that goes on with this one."""
        data = payload.get("data")
        if not isinstance(data, dict):
            return []
        match payload.get("stream"):
            case "assistant":
                self._in_detail = True
                return self._show_text(_text(data.get("text")))
            case "thinking":
                return self._show_thinking(_text(data.get("text")))
            case "tool":
                return self._show_tool(data)
        return []

    def _take_chat(self, payload: Record) -> list[Record]:
        state = payload.get("state")
        if isinstance(state, str) and state in _ENDINGS:
            # An abort is followed by a `final` on 2026.5: the first word counts.
            self.ended, self._ending = True, self._ending or payload
        elif state == "delta" and not self._in_detail:
            return self._show_text(self._text + _text(payload.get("deltaText")))
        return []

    def _show_text(self, text: str) -> list[Record]:
        records: list[Record] = []
        if not self._shown or not text.startswith(self._text):  # another message
            records.append(self._start())
        delta = text[len(self._text) :]
        self._text = self._shown[-1] = text
        return [*records, _step("text_delta", delta)] if delta else records

    def _show_thinking(self, text: str) -> list[Record]:
        records = [] if self._shown else [self._start()]
        delta = text.removeprefix(self._thinking)
        self._thinking = text
        return [*records, _step("thinking_delta", delta)] if delta else records

    def _start(self) -> Record:
        self._text = self._thinking = ""
        self._shown.append("")
        return {"type": "message_start", "message": assistant({}, stop_reason="pending")}

    def _show_tool(self, data: Record) -> list[Record]:
        phase = data.get("phase")
        kind = _TOOL_PHASES.get(phase) if isinstance(phase, str) else None
        if kind is None:
            return []
        record: Record = {"type": kind, "toolCallId": str(data.get("toolCallId")), "toolName": str(data.get("name"))}
        for key in ("args", "partialResult", "result"):
            if key in data:
                record[key] = data[key]
        if phase == "result":
            record["isError"] = data.get("isError") is True
        return [record]

    @property
    def untold(self) -> dict[str, str]:
        """What is still on its way into the run."""
        return {id_: text for id_, text in self.steers.items() if id_ not in self._told}

    def has_told(self, steer: str, payload: Record) -> bool:
        """Take what the gateway tells of something that the run is told; return whether that is now done."""
        if steer not in self.untold or payload.get("state") not in _ENDINGS:
            return False
        if payload.get("state") == "aborted":  # taken back, by whomever
            del self.steers[steer]
        self._told.add(steer)
        return True

    def fail(self, why: str) -> None:
        """It could not be begun."""
        self.ended, self._ending = True, {"state": "error", "errorMessage": why}

    @property
    def aborted(self) -> bool:
        """Whether it was ended before it had come to its end. A 2026.5 gateway does not always say so."""
        return self._how == "aborted"

    @property
    def _how(self) -> str:
        return "aborted" if self.interrupted else str(self._ending.get("state"))

    @property
    def _was_absorbed(self) -> bool:
        """Whether another run has its prompt. A gateway that was killed goes on by itself with what it was at, say."""
        return not self._was_run and not self._ending.get("message") and self._how == "final"

    def lacks(self, messages: Sequence[Record]) -> bool:
        """Whether something that it was told to do is still to come, by its ``messages`` in the history so far.

        A gateway that cannot tell a run something any more, because it is not quite there yet or nearly over, makes
        another run of it, whose id it does not tell. What failed or was ended is not followed by any.
        """
        if self._how in ("aborted", "error") or not (self.steers or self._was_absorbed):
            return False
        own = self._own(messages)
        return not own or not self._was_told(own) or not _is_answer(own[-1])

    def _was_told(self, messages: Sequence[Record]) -> bool:
        said = {_words(said_in(message)) for message in messages if message.get("role") == "user"}
        return {_words(text) for text in self.steers.values()} <= said

    def _own(self, messages: Sequence[Record]) -> Sequence[Record]:
        """These, up to where all has been answered and somebody else goes on: the gateway itself, say, with an older run."""
        for at, message in enumerate(messages):
            if at and message.get("role") == "user" and _is_answer(messages[at - 1]) and self._was_told(messages[:at]):
                return messages[:at]
        return messages

    def finish(self, messages: Sequence[Record]) -> tuple[list[Record], list[Record]]:
        """The end of the run: what a Pi would tell, and the messages. ``messages`` are those of it in the history."""
        said = [self._with_reason(message) for message in self._own(messages)]
        if (answer := self._unwritten(said)) is not None:
            said.append(answer)
        records: list[Record] = []
        for message in said:
            records += [*self._show_rest(message), {"type": "message_end", "message": message}]
        return records, said

    def _show_rest(self, message: Record) -> list[Record]:
        """What was not shown yet of a message: all of one that is not streamed, such as the words before a tool."""
        begin: Record = {"type": "message_start", "message": message}
        if message.get("role") != "assistant":
            return [begin]
        whole = said_in(message)
        shown = self._shown[0] if self._shown else None
        if shown is None or not (whole.startswith(shown) or shown.startswith(whole)):
            return [begin, _step("text_delta", whole)] if whole else [begin]
        self._shown.pop(0)
        return [_step("text_delta", whole[len(shown) :])] if len(whole) > len(shown) else []

    def _with_reason(self, message: Record) -> Record:
        """What went wrong is told when it does, and may not be written down."""
        error = self._ending.get("errorMessage")
        failed = message.get("stopReason") == "error" and isinstance(error, str)
        return {"errorMessage": error, **message} if failed else message

    def _unwritten(self, said: Sequence[Record]) -> Record | None:
        """The answer that the gateway told of but has not written down, or ``None``."""
        answers = [message for message in said if message.get("role") == "assistant"]
        if self._was_absorbed:
            why = "the prompt became part of another run, and was not answered there"
            return None if answers else assistant({}, stop_reason="error", error=why)
        stop_reason = {"aborted": "aborted", "error": "error"}.get(self._how, "stop")
        message = self._ending.get("message")
        row = message if isinstance(message, dict) else {}
        if not row and not self._text and stop_reason == "stop":
            return None  # it was silent
        if answers and (stop_reason == "stop" or answers[-1].get("stopReason") in (stop_reason, "aborted")):
            return None
        error = self._ending.get("errorMessage") if stop_reason == "error" else None
        text = row or {"content": self._text}
        return assistant(text, stop_reason=stop_reason, error=None if error is None else str(error))


def _is_answer(message: Record) -> bool:
    return message.get("role") == "assistant" and message.get("stopReason") != "toolUse"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _words(text: str) -> str:
    """The text as it is compared: a 2026.5 gateway makes one line of several."""
    return " ".join(text.split())


def _step(kind: str, delta: str) -> Record:
    return {"type": "message_update", "assistantMessageEvent": {"type": kind, "contentIndex": 0, "delta": delta}}
