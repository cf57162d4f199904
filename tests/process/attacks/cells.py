"""The attacks: what happens to a Pi, and what its tools have started before."""

from __future__ import annotations

import attrs

PIS = ("SIGKILL", "SIGSTOP", "SIGSTOP, then stop", "ignores SIGTERM", "plain exit")
"""What is done to Pi just before the end."""

_HERE = "echo here > tool; "

TOOLS: dict[str, tuple[str | None, bool]] = {
    "none": (None, False),
    "own session": (f"{_HERE}exec sleep {{token}}", True),
    "nohup": (f"nohup sleep {{token}} >/dev/null 2>&1 & {_HERE}", False),
    "double fork": (f"(setsid sh -c 'sleep {{token}} & sleep {{token}}' >/dev/null 2>&1 &) ; {_HERE}", False),
    "wiped environment": (
        f"env -i setsid -f $(command -v sleep) {{token}} >/dev/null 2>&1 < /dev/null; {_HERE}",
        False,
    ),
}
"""Each tool's shell command, and whether it goes on (Pi starts every tool in a session of its own)."""

IGNORE_SIGTERM = """
export default function (pi) {
  pi.on("session_start", () => {
    const deaf = () => {
      for (const name of ["SIGTERM", "SIGHUP", "SIGINT"]) { process.removeAllListeners(name); process.on(name, () => {}); }
      process.stdin.removeAllListeners("end");
    };
    deaf();
    setInterval(deaf, 1);
  });
}
"""


@attrs.frozen
class Cell:
    """One combination."""

    pi: str
    tool: str

    @property
    def name(self) -> str:
        """As an instance id and a folder."""
        return f"{self.pi} {self.tool}".replace(",", "").replace(" ", "-")


ALL = tuple(Cell(pi, tool) for pi in PIS for tool in TOOLS)


def token_of(token: int, cell: Cell) -> str:
    """The argument of the cell's ``sleep``: by it alone a process without an environment is recognized."""
    return f"{token}.{1000 + ALL.index(cell)}"
