"""Members that are reached at a URL."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ..abc import Found
from ..client import PiClient, RemoteOptions, open_client
from ..errors import ConnectFailed
from ..transport import check_url

__all__ = ["check_reachable", "open_at_url", "read_token"]


def check_reachable(found: Found) -> None:
    """Whether there is a way to the instance, as far as that can be said without trying.

    Raises:
        ValueError: it has no URL, or none that can be called with its token. The message shows no secret.
    """
    name, url = found.instance_id, found.profile.url
    if url is None:
        raise ValueError(f"nothing says how to open a client to {name!r}: give it a url, or open_client")
    try:
        if "@" in urlsplit(url).netloc:  # events and tables show URLs
            raise ValueError("its url names a user: what is secret belongs into token or token_file")
        # Where a token may not go does not depend on what is in the file.
        check_url(url, found.token if found.token_file is None else "some")
    except ValueError as error:
        raise ValueError(f"there is no way to {name!r}: {error}") from None


@asynccontextmanager
async def open_at_url(found: Found, options: RemoteOptions | None = None) -> AsyncIterator[PiClient]:
    """A client for the instance at its URL, for the body. It has passed :func:`check_reachable`.

    Raises:
        ConnectFailed: it cannot be reached, or its token cannot be read.
    """
    url = found.profile.url
    assert url is not None
    async with open_client(url, token=_token(found, url), options=options) as client:
        yield client


def read_token(path: str | os.PathLike[str]) -> str:
    """What is in a token file; ``~`` is the home.

    Raises:
        OSError: it cannot be read.
        ValueError: it does not hold a token. The message does not show what it holds.
    """
    try:
        token = Path(path).expanduser().read_text("ascii").strip()
    except (UnicodeDecodeError, RuntimeError):  # the first shows what it could not decode; the second has no home
        token = ""
    if not token or not token.isprintable():
        raise ValueError(f"{path} does not hold a token, one line of printable ASCII")
    return token


def _token(found: Found, url: str) -> str | None:
    if found.token_file is None:
        return found.token
    try:
        return read_token(found.token_file)
    except (OSError, ValueError) as error:
        raise ConnectFailed(url, f"its token cannot be had: {error}") from error
