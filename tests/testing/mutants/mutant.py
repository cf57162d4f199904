"""One bug: what is wrong with it, and the edits of the real source that bring it in."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import attrs

__all__ = ["Mutant", "StaleMutant"]

_ROOT = Path(__file__).parents[3]


class StaleMutant(Exception):
    """The source is not what the mutant was written for any more: it has to be written anew, or given up."""


@attrs.frozen
class Mutant:
    """A bug, as somebody might write it."""

    name: str
    """A few words with hyphens."""
    module: str
    """Where it is: ``"supervisor.incarnation"``."""
    bug: str
    """What is wrong, in a sentence."""
    edits: tuple[tuple[str, str], ...]
    """What is found once in the module's source, and what stands there instead."""

    @classmethod
    def of(cls, module: str, name: str, bug: str, *edits: tuple[str, str]) -> Self:
        """Make one."""
        return cls(name, module, bug, edits)

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """The module's file."""
        return _ROOT.joinpath("pi_trio", *self.module.split(".")).with_suffix(".py")

    def apply(self, source: str) -> str:
        """The source with the bug in it.

        Raises:
            StaleMutant: what is to be replaced is not there, or more than once; or it makes no difference.
        """
        for old, new in self.edits:
            if source.count(old) != 1:
                raise StaleMutant(f"{self.name}: {source.count(old)} times in {self.path.name}: {old!r}")
            if old == new:
                raise StaleMutant(f"{self.name}: {old!r} is replaced by itself")
            source = source.replace(old, new)
        return source
