"""Pi's RPC commands, one small function each. A new one is a function with a decorator, and nothing else.

A command is given the Pi and the record that asks, and returns the data of the response (``None`` for none). Those with
``@command`` answer in the order in which they were asked; those with ``@slow_command`` take their time, beside others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import attrs

from .messages import Json, text_of

if TYPE_CHECKING:
    from .program import PiProcess

__all__ = ["COMMANDS", "Later", "Refused"]

_LEVELS = ("off", "minimal", "low", "medium", "high")


class Refused(Exception):
    """The response is an error, with this text."""


@attrs.frozen
class Later:
    """The data of the response is what this returns, when it does. Not begun yet: the process may be dead by then."""

    work: Callable[[], Awaitable[Json | None]]


Command: TypeAlias = "Callable[[PiProcess, Json], Json | Later | None]"
SlowCommand: TypeAlias = "Callable[[PiProcess, Json], Awaitable[Json | None]]"

COMMANDS: dict[str, Command] = {}
"""All of them, by Pi's names."""


def command(function: Command) -> Command:
    """Enter it in :data:`COMMANDS`, under its own name."""
    COMMANDS[function.__name__] = function
    return function


def slow_command(function: SlowCommand) -> SlowCommand:
    """The same, for one that waits for something."""
    COMMANDS[function.__name__] = lambda pi, asked: Later(lambda: function(pi, asked))
    return function


# --- prompting --------------------------------------------------------------------------------------------


def _disposition(pi: PiProcess, what: str) -> Json | None:
    return {"disposition": what} if pi.dialect.tells_disposition else None


@command
def prompt(pi: PiProcess, asked: Json) -> Json | Later | None:
    """Begin a run, queue the message, or call the command of an extension."""
    text = asked["message"]
    name, _, arguments = text.removeprefix("/").partition(" ")
    if text.startswith("/") and name in pi.config.extensions:
        return Later(lambda: _call_extension(pi, name, arguments))
    if pi.agent.streaming:
        which = asked.get("streamingBehavior")
        if which not in ("steer", "followUp"):
            raise Refused(
                "Agent is already processing. Specify streamingBehavior ('steer' or 'followUp') to queue the message."
            )
        pi.agent.queue(which, text)
        return _disposition(pi, "queued")
    pi.agent.start(text, asked.get("images", ()))
    return _disposition(pi, "started")


async def _call_extension(pi: PiProcess, name: str, arguments: str) -> Json | None:
    await pi.config.extensions[name](pi.ui, arguments)
    return _disposition(pi, "handled")


@command
def steer(pi: PiProcess, asked: Json) -> Json | None:
    """Say something in the middle of a run."""
    pi.agent.queue("steer", asked["message"])
    return _disposition(pi, "queued")


@command
def follow_up(pi: PiProcess, asked: Json) -> Json | None:
    """Say something when the run would be over."""
    pi.agent.queue("followUp", asked["message"])
    return _disposition(pi, "queued")


@command
def clear_queue(pi: PiProcess, _asked: Json) -> Json:
    """Take back what is queued."""
    return pi.agent.clear_queues()


@slow_command
async def abort(pi: PiProcess, _asked: Json) -> None:
    """End the run."""
    await pi.agent.abort()


# --- state ------------------------------------------------------------------------------------------------


@command
def get_state(pi: PiProcess, _asked: Json) -> Json:
    """What it is doing."""
    session = pi.session
    return {
        "model": pi.model,
        "thinkingLevel": pi.thinking,
        "isStreaming": pi.agent.streaming,
        "isCompacting": pi.compacting,
        "steeringMode": pi.agent.steering_mode,
        "followUpMode": pi.agent.follow_up_mode,
        **({} if session.file is None else {"sessionFile": session.file}),
        "sessionId": session.id,
        **({} if session.name is None else {"sessionName": session.name}),
        "autoCompactionEnabled": pi.auto_compaction,
        "messageCount": len(session.messages),
        "pendingMessageCount": len(pi.agent.steering) + len(pi.agent.follow_up),
    }


@command
def get_session_stats(pi: PiProcess, _asked: Json) -> Json:
    """Counts, tokens, cost."""
    return pi.session.statistics(pi.model["contextWindow"])


@command
def get_messages(pi: PiProcess, _asked: Json) -> Json:
    """What the model would be given."""
    return {"messages": pi.session.messages}


@command
def get_entries(pi: PiProcess, _asked: Json) -> Json:
    """What the session's file has. Of messages only: it has no branches here."""
    entries = pi.session.entries
    return {"entries": entries, "leafId": entries[-1]["id"] if entries else None}


@command
def get_last_assistant_text(pi: PiProcess, _asked: Json) -> Json:
    """The text of the last answer."""
    answers = [message for message in pi.session.messages if message["role"] == "assistant"]
    return {"text": text_of(answers[-1])} if answers else {}


# --- models -----------------------------------------------------------------------------------------------


@command
def set_model(pi: PiProcess, asked: Json) -> Json:
    """Use another model from now on."""
    for model in pi.models:
        if (model["provider"], model["id"]) == (asked["provider"], asked["modelId"]):
            pi.model = model
            return model
    raise Refused(f"Model not found: {asked['provider']}/{asked['modelId']}")


@command
def get_available_models(pi: PiProcess, _asked: Json) -> Json:
    """The models it knows."""
    return {"models": pi.models}


@command
def set_thinking_level(pi: PiProcess, asked: Json) -> None:
    """Think more, or less."""
    if pi.thinking != asked["level"]:
        pi.thinking = asked["level"]
        pi.emit({"type": "thinking_level_changed", "level": pi.thinking})


@command
def get_available_thinking_levels(_pi: PiProcess, _asked: Json) -> Json:
    """How much it can think."""
    return {"levels": list(_LEVELS)}


@command
def set_steering_mode(pi: PiProcess, asked: Json) -> None:
    """How many of the queued messages are taken at a time."""
    pi.agent.steering_mode = asked["mode"]


@command
def set_follow_up_mode(pi: PiProcess, asked: Json) -> None:
    """One message at a time, or all."""
    pi.agent.follow_up_mode = asked["mode"]


@command
def set_auto_retry(pi: PiProcess, asked: Json) -> None:
    """Ask again for failed answers, or do not."""
    pi.agent.auto_retry = asked["enabled"]


@command
def abort_retry(pi: PiProcess, _asked: Json) -> None:
    """Give up a failed answer that is about to be asked for again."""
    pi.agent.abort_retry()


@command
def set_auto_compaction(pi: PiProcess, asked: Json) -> None:
    """Compact a full context, or do not. The simulated one is never full."""
    pi.auto_compaction = asked["enabled"]


# --- sessions ---------------------------------------------------------------------------------------------


@slow_command
async def new_session(pi: PiProcess, _asked: Json) -> Json:
    """Begin a fresh session."""
    await pi.agent.abort()
    pi.session = pi.new_session()
    return {"cancelled": False}


@slow_command
async def switch_session(pi: PiProcess, asked: Json) -> Json:
    """Go on with a kept session."""
    found = pi.config.sessions.find(asked["sessionPath"])
    if found is None:
        raise Refused(f"Session file not found: {asked['sessionPath']}")
    await pi.agent.abort()
    pi.session = found
    return {"cancelled": False}


@command
def set_session_name(pi: PiProcess, asked: Json) -> None:
    """Name the session."""
    name = asked["name"].strip()
    if not name:
        raise Refused("Session name cannot be empty")
    pi.session.name = name
    pi.emit({"type": "session_info_changed", "name": name})


@slow_command
async def compact(pi: PiProcess, asked: Json) -> Json:
    """Replace the history by a summary of it."""
    await pi.agent.abort()
    pi.emit({"type": "compaction_start", "reason": "manual"})
    pi.compacting = True
    end: Json = {"type": "compaction_end", "reason": "manual", "aborted": False, "willRetry": False}
    try:
        result = await pi.compact(asked.get("customInstructions"))
    except Refused as refused:
        pi.emit({**end, "errorMessage": f"Compaction failed: {refused}"})
        raise
    else:
        pi.emit({**end, "result": result})
        return result
    finally:
        pi.compacting = False


# --- the shell --------------------------------------------------------------------------------------------


@slow_command
async def bash(pi: PiProcess, asked: Json) -> Json:
    """Run a shell command in the session."""
    session = pi.session

    def heard(text: str) -> None:
        pi.emit({"type": "bash_execution_update", "id": asked.get("id"), "delta": text})

    outcome = await pi.shells.run("user", asked["command"], heard)
    exited: Json = {} if outcome.exit_code is None else {"exitCode": outcome.exit_code}
    result: Json = {"output": outcome.output, **exited, "cancelled": outcome.cancelled, "truncated": False}
    session.add({"role": "bashExecution", "command": asked["command"], **result, "timestamp": pi.timestamp()})
    return result


@command
def abort_bash(pi: PiProcess, _asked: Json) -> None:
    """Kill the shell commands that were asked for."""
    pi.shells.kill("user")
