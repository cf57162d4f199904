"""The loop of an agent: prompts, answers, tools, queues, retries, aborts; and the events that tell of them.

The order of the events is that of the recordings in ``tests/fixtures``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Literal

import trio

from ..model_server import Turn
from . import messages
from .messages import Json
from .stream import AnswerStream

if TYPE_CHECKING:
    from .program import PiProcess

__all__ = ["Agent"]

# Seconds until the model's first word: somewhere in this range.
_FIRST_WORD = (0.001, 0.1)

_ABORTED = "Request was aborted"
_ABORTED_BEFORE = "This operation was aborted"

# Of the texts by which Pi knows an error that may pass, those that a scripted model can have.
_TEMPORARY = re.compile(
    "overloaded|rate.?limit|too many requests|429|500|502|503|504|520|524|unavailable|terminated", re.IGNORECASE
)


class Agent:
    """What a Pi does when it was prompted. One run at a time."""

    def __init__(self, pi: PiProcess) -> None:
        self._pi = pi
        self.streaming = False
        """Whether a run is going on, retries and queued messages included."""
        self.steering: list[str] = []
        self.follow_up: list[str] = []
        self.steering_mode = self.follow_up_mode = "one-at-a-time"
        self.auto_retry = True
        self._aborted = False
        self._retrying = False
        self._interruptible: trio.CancelScope | None = None
        self._settled = trio.Event()
        self._settled.set()

    # --- asked by commands ----------------------------------------------------------------------------------

    def start(self, text: str, images: Sequence[Json]) -> None:
        """Begin a run. Its first event comes after what is written now."""
        self.streaming, self._aborted = True, False
        self._settled = trio.Event()
        self._pi.system.start_soon(self._run, text, tuple(images))

    def queue(self, which: Literal["steer", "followUp"], text: str) -> None:
        """Add a message to a queue."""
        (self.steering if which == "steer" else self.follow_up).append(text)
        self._tell_queues()

    def clear_queues(self) -> Json:
        """Take everything out of the queues."""
        taken = {"steering": self.steering, "followUp": self.follow_up}
        self.steering, self.follow_up = [], []
        self._tell_queues()
        return taken

    async def abort(self) -> None:
        """End the run, and wait until it has settled."""
        if self.streaming:
            self._aborted = True
            if self._interruptible is not None:
                self._interruptible.cancel()
            self._pi.shells.kill("tool")
            await self._pi.system.wait_for(self._settled)

    def abort_retry(self) -> None:
        """Do not try again, if it is about to."""
        if self._retrying and self._interruptible is not None:
            self._interruptible.cancel()

    def _tell_queues(self) -> None:
        self._pi.emit({"type": "queue_update", "steering": self.steering, "followUp": self.follow_up})

    # --- a run ------------------------------------------------------------------------------------------------

    async def _run(self, text: str, images: Sequence[Json]) -> None:
        pi = self._pi
        attempt = 0
        prompts = [messages.user(text, images, pi.timestamp())]
        given_up: str | None = None
        while True:
            answer = await self._attempt(prompts, attempt)
            if answer["stopReason"] != "error":
                break
            if not self._may_retry(answer, attempt):
                given_up = answer["errorMessage"] if attempt else None
                break
            attempt += 1
            if not await self._wait_to_retry(answer, attempt):
                given_up = "Retry cancelled"
                break
            prompts = []
        if given_up is not None:
            pi.emit({"type": "auto_retry_end", "success": False, "attempt": attempt, "finalError": given_up})
        self.streaming = False
        pi.emit({"type": "agent_settled", **({"aborted": self._aborted} if pi.dialect.tells_aborted else {})})
        self._settled.set()

    def _may_retry(self, answer: Json, attempt: int) -> bool:
        temporary = _TEMPORARY.search(str(answer.get("errorMessage"))) is not None
        return self.auto_retry and not self._aborted and temporary and attempt < self._pi.config.max_retries

    async def _wait_to_retry(self, answer: Json, attempt: int) -> bool:
        """Take back the failed answer, and wait; whether to try again."""
        pi = self._pi
        delay = pi.config.retry_delay * 2 ** (attempt - 1)
        pi.emit(
            {
                "type": "auto_retry_start",
                "attempt": attempt,
                "maxAttempts": pi.config.max_retries,
                "delayMs": round(delay * 1000),
                "errorMessage": answer["errorMessage"],
            }
        )
        pi.emit({"type": "entry_appended", "entry": pi.context_edit()})
        pi.session.messages.remove(answer)
        self._retrying = True
        waited = await self._unless_aborted(lambda: pi.system.sleep(delay))
        self._retrying = False
        return waited

    async def _attempt(self, prompts: Sequence[Json], attempt: int) -> Json:
        """One low-level run: turns, until the model wants no tool and nothing is queued."""
        pi = self._pi
        new: list[Json] = []
        pi.emit({"type": "agent_start"})
        queued, resting = [*prompts], False
        while True:
            pi.emit({"type": "turn_start"})
            queued += self._take_queued(self.steering_mode, self.steering)
            if resting and not queued:
                queued = self._take_queued(self.follow_up_mode, self.follow_up)
            for message in queued:
                self._complete(message, new)
            answer = await self._answer(new, attempt)
            failed = answer["stopReason"] in ("error", "aborted")
            calls = [block for block in answer["content"] if block["type"] == "toolCall"]
            results = [] if failed else await self._run_tools(calls, new)
            pi.emit({"type": "turn_end", "message": answer, "toolResults": results})
            if failed or not (calls or self.steering or self.follow_up):
                break
            queued, resting = [], not calls
        will_retry = answer["stopReason"] == "error" and self._may_retry(answer, attempt)
        pi.emit({"type": "agent_end", "messages": new, "willRetry": will_retry})
        return answer

    def _take_queued(self, mode: str, queue: list[str]) -> list[Json]:
        if not queue:
            return []
        count = 1 if mode == "one-at-a-time" else len(queue)
        taken = queue[:count]
        del queue[:count]
        self._tell_queues()
        return [messages.user(text, (), self._pi.timestamp()) for text in taken]

    def _complete(self, message: Json, new: list[Json]) -> None:
        """A message that is there at once."""
        self._pi.emit({"type": "message_start", "message": message})
        self._finish(message, new)

    def _finish(self, message: Json, new: list[Json]) -> None:
        self._pi.session.add(message)
        new.append(message)
        self._pi.emit({"type": "message_end", "message": message})

    async def _unless_aborted(self, step: Callable[[], Awaitable[object]]) -> bool:
        """Do something that an abort interrupts; whether it was done to the end."""
        with trio.CancelScope() as scope:
            self._interruptible = scope
            if self._aborted:
                scope.cancel()
            await step()
        self._interruptible = None
        return not scope.cancelled_caught

    # --- an answer --------------------------------------------------------------------------------------------

    async def _answer(self, new: list[Json], attempt: int) -> Json:
        """Ask the model; stream what it says. The message is complete, and in the session, when this returns."""
        pi = self._pi
        answer = messages.assistant(pi.model, pi.timestamp())
        turn = Turn()
        started = False

        async def stream() -> None:
            nonlocal turn, started
            turn = await pi.ask_model(messages.for_model(pi.session.messages))
            await pi.system.take(_FIRST_WORD)
            if turn.delay:
                await pi.system.sleep(turn.delay)
            if turn.status == 200:
                started = True
                pi.emit({"type": "message_start", "message": answer})
                await AnswerStream(pi, answer, turn).run()

        too_late = self._aborted
        heard_out = await self._unless_aborted(stream)
        self._conclude(answer, turn, heard_out=heard_out)
        if too_late:
            answer["stopReason"], answer["errorMessage"] = pi.dialect.aborts_between_turns, _ABORTED_BEFORE
        if not started:
            pi.emit({"type": "message_start", "message": answer})
        self._finish(answer, new)
        if attempt and answer["stopReason"] not in ("error", "aborted"):
            pi.emit({"type": "auto_retry_end", "success": True, "attempt": attempt})
        return answer

    def _conclude(self, answer: Json, turn: Turn, *, heard_out: bool) -> None:
        if not heard_out:
            answer["stopReason"], answer["errorMessage"] = "aborted", _ABORTED
        elif turn.status != 200:
            said = turn.text if isinstance(turn.text, str) else "".join(turn.text)
            answer["stopReason"], answer["errorMessage"] = "error", f'{turn.status}: {{"message":"{said}"}}'
        elif turn.cut_off:
            answer["stopReason"], answer["errorMessage"] = "error", "terminated"
        else:
            reasons = {"tool_calls": "toolUse", "length": "length", None: "toolUse" if turn.tools else "stop"}
            answer["stopReason"] = reasons.get(turn.stop_reason, "stop")
            answer["usage"] = messages.usage_of(turn)

    # --- tools ------------------------------------------------------------------------------------------------

    async def _run_tools(self, calls: Sequence[Json], new: list[Json]) -> list[Json]:
        """Run the tools of an answer side by side; return the messages with their results."""
        if not calls:
            return []
        pi = self._pi
        for call in calls:
            named = {"toolCallId": call["id"], "toolName": call["name"], "args": call["arguments"]}
            pi.emit({"type": "tool_execution_start", **named})
        outcomes: dict[str, tuple[Json, bool]] = {}

        async def run_one(call: Json) -> None:
            began = trio.current_time()
            result, is_error = await pi.tools.run(call, aborted=lambda: self._aborted)
            outcomes[call["id"]] = result, is_error
            took = {"durationMs": round((trio.current_time() - began) * 1000)} if pi.dialect.tells_durations else {}
            pi.emit(
                {
                    "type": "tool_execution_end",
                    "toolCallId": call["id"],
                    "toolName": call["name"],
                    "result": result,
                    "isError": is_error,
                    **took,
                }
            )

        if len(calls) == 1:
            await run_one(calls[0])
        else:
            async with trio.open_nursery() as nursery:
                for call in calls:
                    nursery.start_soon(run_one, call)
        results = []
        for call in calls:
            result, is_error = outcomes[call["id"]]
            results.append(messages.tool_result(call, result, is_error=is_error, timestamp=pi.timestamp()))
            self._complete(results[-1], new)
        return results
