"""What is prompted, and what the scripted model answers: on the real gateways, when they are recorded, and by the stand-in."""

from __future__ import annotations

import json

from pi_trio.testing import ModelRequest, ToolUse, Turn

__all__ = ["COUNT", "FAIL", "LEFT", "PROMPTS", "SLOWLY", "TOOL", "answer"]

COUNT = "Count to three"
SLOWLY = "Count slowly"
FAIL = "Fail, please"
TOOL = "Use a tool"
LEFT = "Turn left"
"""What a run is told that uses a tool."""

PROMPTS = (COUNT, SLOWLY, FAIL, TOOL, LEFT)

# What a gateway says itself, that was killed, to have what it was at gone on with.
_KILLED = "interrupted by a gateway restart"

_TURNS = {
    COUNT: Turn("one two three", chunk_delay=0.05),
    # Nobody waits for its end.
    SLOWLY: Turn(" ".join(map(str, range(1, 101))), chunk_delay=0.1),
    FAIL: Turn("as it was told to", status=400),
    # Long enough that a busy gateway can be told something meanwhile.
    TOOL: Turn("I use it.", tools=(ToolUse("exec", {"command": "sleep 2; echo used"}),)),
    LEFT: Turn("left it is", chunk_delay=0.05),
    _KILLED: Turn("I go on"),
}
_USED = Turn("it was used", chunk_delay=0.05)


def answer(request: ModelRequest) -> Turn:
    """The answer to the prompt that came last. A gateway puts a good deal around it, and more behind it.

    Whoever asks for a summary of a conversation gets one, or what its last prompt gets.
    """
    used = False
    for message in reversed(request.messages):
        used = used or message.get("role") == "tool"
        said = json.dumps(message.get("content"), ensure_ascii=False) if message.get("role") == "user" else ""
        for prompt, turn in _TURNS.items():
            if prompt in said:
                return _USED if prompt == TOOL and used else turn
        if "summar" in said:
            return Turn("they counted")
    return Turn("nobody asked anything", status=400)
