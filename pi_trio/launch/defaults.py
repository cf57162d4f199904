"""Which model of a provider Pi takes where none is named."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from types import MappingProxyType

import trio

from .find import PiInstall, package_of

__all__ = ["read_default_models"]

_log = logging.getLogger("pi_trio.launch")

# Pi's package exports the table from no entry point, and no command of it tells it: it is read where Pi's own code has it.
_SOURCE = "dist/core/model-resolver.js"
_TABLE = re.compile(r"\bdefaultModelPerProvider = \{(.*?)^\}", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"""^\s*["']?([^"'\s:]+)["']?: ["']([^"'\n]+)["'],?$""", re.MULTILINE)

_NONE: Mapping[str, str] = MappingProxyType({})


async def read_default_models(pi: PiInstall) -> Mapping[str, str]:
    """The default model's id for each provider that this Pi has one for; read once.

    Empty for a Pi that is no npm package, or has its table somewhere else. Cancelling loses nothing.
    """
    try:
        return await trio.to_thread.run_sync(_read, pi)
    except (OSError, ValueError) as error:
        _log.warning("the default models of Pi %s cannot be read: %s", pi.version, error)
        return _NONE


@functools.lru_cache(maxsize=16)
def _read(pi: PiInstall) -> Mapping[str, str]:
    package = package_of(pi.path)
    if package is None:
        return _NONE
    source = package[0] / _SOURCE
    table = _TABLE.search(source.read_text("utf-8"))
    if table is None:
        raise ValueError(f"they are not in {source}")
    return MappingProxyType(dict(_ENTRY.findall(table[1])))
