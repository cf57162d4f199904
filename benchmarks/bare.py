"""The baseline: one Pi driven by a blocking loop, as somebody writes it who knows how and needs nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from pi_trio import InstanceSpec
from pi_trio.launch import PiInstall

__all__ = ["BarePi"]


class BarePi:
    """A Pi of its own, started as the runtime would start it: same command line, same environment."""

    def __init__(self, install: PiInstall, spec: InstanceSpec) -> None:
        self._process = subprocess.Popen(
            [*install.command, *spec.arguments()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=65536,  # faster than the default, for a flood
            cwd=spec.cwd,
            env=spec.environment(os.environ),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        self._stdout = self._process.stdout

    @property
    def pid(self) -> int:
        """The process id of its Pi."""
        return self._process.pid

    def get_state(self) -> dict[str, Any]:
        """One request, one response: nothing else can come."""
        self._stdin.write(b'{"id":"1","type":"get_state"}\n')
        self._stdin.flush()
        return self._read()

    def get_states(self, count: int) -> None:
        """Write ``count`` requests, then read as many responses."""
        for number in range(count):
            self._stdin.write(b'{"id":"%d","type":"get_state"}\n' % number)
        self._stdin.flush()
        for _ in range(count):
            self._read()

    def _read(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self._stdout.readline())
        if record.get("success") is not True:
            raise RuntimeError(f"Pi did not answer: {record}")
        return record

    def prompt(self) -> str:
        """Prompt, and join the text that comes until Pi has settled."""
        self._stdin.write(b'{"id":"1","type":"prompt","message":"go"}\n')
        self._stdin.flush()
        parts: list[str] = []
        for line in self._stdout:
            record = json.loads(line)
            kind = record["type"]
            if kind == "message_update":
                step = record["assistantMessageEvent"]
                if step["type"] == "text_delta":
                    parts.append(step["delta"])
            elif kind == "agent_settled":
                break
        return "".join(parts)

    def close(self) -> None:
        """End it: Pi exits when its stdin does."""
        self._stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._stdout.close()
