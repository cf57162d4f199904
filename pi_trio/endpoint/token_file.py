"""The file with a runtime's token, for the other programs of the same user."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..launch.find import data_home
from ..process import owner_of

__all__ = ["TokenFile", "default_token_file"]

_SUFFIX = ".token"


class TokenFile:
    """Holds a token for as long as it is not removed. Only its owner can read it, from the moment it is there."""

    def __init__(self, path: Path, token: str) -> None:
        """Write it; one that is there already is replaced.

        Raises:
            OSError: it cannot be written.
        """
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=_SUFFIX, dir=path.parent)  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(f"{token}\n")
            self._inode = os.stat(name).st_ino
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise

    def __repr__(self) -> str:
        return f"<TokenFile {self.path}>"

    def remove(self) -> None:
        """Delete it, unless it has become somebody else's. Idempotent."""
        try:
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass


def default_token_file(run_id: str) -> Path:
    """Where a runtime's token goes. Those that dead runtimes left there are removed.

    Not in the folder for temporary files: other users can make things there, too.
    """
    folder = data_home() / "tokens"
    for left in folder.glob(f"*{_SUFFIX}") if folder.is_dir() else ():
        owner = owner_of(left.stem)
        if owner is not None and owner.is_dead():
            left.unlink(missing_ok=True)
    return folder / f"{run_id}{_SUFFIX}"
