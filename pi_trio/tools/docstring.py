"""What a docstring says, taken apart: the description, and what each parameter is for (Google's style)."""

from __future__ import annotations

import inspect
import itertools
import re

import attrs

__all__ = ["Docstring", "parse_docstring"]

# Headings of the sections that the model is not told: they are for people who read the code.
_HEADING = re.compile(
    r"(Args|Arguments|Parameters|Attributes|Returns?|Raises|Yields?|Notes?|Examples?|See Also|Warnings?|Todo):\s*$"
)
_PARAMETER_HEADINGS = frozenset({"Args", "Arguments", "Parameters", "Attributes"})
_PARAMETER = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)")


@attrs.frozen
class Docstring:
    """A docstring, taken apart."""

    description: str = ""
    """All that stands before the first section."""
    parameters: dict[str, str] = attrs.field(factory=dict)
    """What is said about each parameter, on one line."""


def parse_docstring(text: str | None) -> Docstring:
    """Take a docstring apart. What is not in Google's style is part of the description."""
    lines = inspect.cleandoc(text or "").splitlines()
    headings = [number for number, line in enumerate(lines) if _HEADING.match(line)]
    description = "\n".join(lines[: headings[0]] if headings else lines).strip()
    parameters: dict[str, str] = {}
    for start, end in itertools.pairwise([*headings, len(lines)]):
        if lines[start].strip().removesuffix(":") in _PARAMETER_HEADINGS:
            parameters.update(_parameters(lines[start + 1 : end]))
    return Docstring(description, parameters)


def _parameters(lines: list[str]) -> dict[str, str]:
    said: dict[str, list[str]] = {}
    name = ""
    indent = next((_indent(line) for line in lines if line.strip()), 0)
    for line in lines:
        if not line.strip():
            continue
        match = _PARAMETER.match(line.strip()) if _indent(line) <= indent else None
        if match is not None:
            name = match[1]
            said[name] = [match[2]]
        elif name:
            said[name].append(line.strip())  # it goes on
    return {name: " ".join(parts).strip() for name, parts in said.items()}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
