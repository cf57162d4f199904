"""Stands in for Pi where Pi would be the slow part: answers ``get_state``, and floods when prompted.

What it writes comes prepared, from the file that ``PI_TRIO_FLOOD`` names, so that the pipe sets the pace.
Run as a script, by itself: only the standard library is here.
"""

from __future__ import annotations

import json
import os
import sys

_STATE = {
    "thinkingLevel": "off",
    "isStreaming": False,
    "isCompacting": False,
    "steeringMode": "one-at-a-time",
    "followUpMode": "one-at-a-time",
    "sessionId": "flood",
    "autoCompactionEnabled": False,
    "messageCount": 0,
    "pendingMessageCount": 0,
}


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def main() -> None:
    """Answer until stdin ends."""
    with open(os.environ["PI_TRIO_FLOOD"], "rb") as file:
        flood = file.read()
    for line in sys.stdin.buffer:
        command = json.loads(line)
        response = {"id": command["id"], "type": "response", "command": command["type"], "success": True}
        if command["type"] == "get_state":
            response["data"] = _STATE
        _write(json.dumps(response).encode() + b"\n")
        if command["type"] == "prompt":
            _write(flood)


if __name__ == "__main__":
    main()
