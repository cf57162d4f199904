"""Where ``pitrio discover`` and ``pitrio select`` know instances from: what the command line says, made into discoveries."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from ..abc import Discovery, Found, Profile
from ..registry import FileDiscovery, OpenClawDiscovery, StaticDiscovery, check_reachable, load_discovery, read_token
from ..transport import check_url

__all__ = ["with_sources"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def with_sources(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options that say where to look. It is given the ``discoveries`` that they come to."""

    @click.argument("urls", nargs=-1, metavar="[URL]...")
    @click.option("--token-file", type=_FILE, help="The file with the token for each URL, instead of PI_TRIO_TOKEN.")
    @click.option("--file", "files", type=_FILE, multiple=True, help="A TOML file that lists instances.")
    @click.option("--openclaw", metavar="URL", help="The sessions of the OpenClaw gateway at this URL.")
    @click.option("--openclaw-token-file", type=_FILE, help="Its token, instead of OPENCLAW_GATEWAY_TOKEN.")
    @click.option("--discovery", "names", multiple=True, metavar="NAME", help="A discovery of an installed package.")
    @functools.wraps(command)
    def parse(
        urls: tuple[str, ...],
        token_file: Path | None,
        files: tuple[Path, ...],
        openclaw: str | None,
        openclaw_token_file: Path | None,
        names: tuple[str, ...],
        **rest: Any,
    ) -> None:
        discoveries: list[Discovery] = [FileDiscovery(path, name=f"file:{path}") for path in dict.fromkeys(files)]
        if urls:
            discoveries.append(StaticDiscovery(_list(urls, token_file), name="command line"))
        if openclaw is not None:
            discoveries.append(_gateway(openclaw, openclaw_token_file))
        discoveries += [_installed(name) for name in dict.fromkeys(names)]
        if not discoveries:
            raise click.UsageError("say where to look: a URL, --file, --openclaw or --discovery")
        called = [each.name for each in discoveries]
        if len(set(called)) < len(called):
            raise click.UsageError(f"two of the sources have one name: {', '.join(called)}")
        command(discoveries=tuple(discoveries), **rest)

    return parse


def _list(urls: Iterable[str], token_file: Path | None) -> list[Found]:
    token = os.environ.get("PI_TRIO_TOKEN") if token_file is None else None
    file = None if token_file is None else str(token_file)
    found: dict[str, Found] = {}
    try:
        for url in urls:
            each = Found(_name(url), profile=Profile(url=url), token=token, token_file=file)
            check_reachable(each)
            if each.instance_id in found:
                raise ValueError(f"{each.instance_id} is given twice")
            found[each.instance_id] = each
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return list(found.values())


def _name(url: str) -> str:
    """What it is called: the URL, without what goes without saying."""
    parts = check_url(url)
    return parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")


def _gateway(url: str, token_file: Path | None) -> Discovery:
    try:
        token = os.environ.get("OPENCLAW_GATEWAY_TOKEN") if token_file is None else read_token(token_file)
        return OpenClawDiscovery(url, token=token)
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from error


def _installed(name: str) -> Discovery:
    try:
        make = load_discovery(name)
    except LookupError as error:
        raise click.UsageError(str(error)) from error
    except Exception as error:  # its package is somebody else's
        raise click.ClickException(f"the discovery {name} cannot be imported: {_told(error)}") from error
    try:
        discovery: object = make()
    except Exception as error:
        raise click.ClickException(f"the discovery {name} cannot be made: {_told(error)}") from error
    if not isinstance(discovery, Discovery):
        raise click.ClickException(f"the discovery {name} is a {type(discovery).__name__}, and no Discovery")
    return discovery


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
