"""What is prompted, and what the scripted model answers: on the real gateways, when they are recorded, and by the stand-in."""

from __future__ import annotations

import json

from pi_trio.testing import ModelRequest, Turn

__all__ = ["COUNT", "FAIL", "PROMPTS", "SLOWLY", "answer"]

COUNT = "Count to three"
SLOWLY = "Count slowly"
FAIL = "Fail, please"

PROMPTS = (COUNT, SLOWLY, FAIL)

_TURNS = {
    COUNT: Turn("one two three", chunk_delay=0.05),
    # Nobody waits for its end.
    SLOWLY: Turn(" ".join(map(str, range(1, 101))), chunk_delay=0.1),
    FAIL: Turn("as it was told to", status=400),
}


def answer(request: ModelRequest) -> Turn:
    """The answer to the prompt that came last. A gateway puts a good deal around it, and more behind it."""
    said = [json.dumps(message.get("content")) for message in request.messages if message.get("role") == "user"]
    for text in reversed(said):
        for prompt, turn in _TURNS.items():
            if prompt in text:
                return turn
    return Turn("nobody asked anything", status=400)
