"""``pitrio serve``: some Pis, each at a WebSocket endpoint, until Ctrl-C."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import trio
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..endpoint import EndpointConfig
from ..launch import InstanceSpec
from ..lifecycle import TERMINAL
from ..process import watch_interrupts
from ..runtime import Runtime, open_runtime
from ..supervisor import Instance
from .exits import FAILED, complain
from .terminal import wide_console

__all__ = ["serve_command"]

# How often the table is drawn: what it shows changes with every record that passes.
_PERIOD = 0.5


async def serve_command(spec: InstanceSpec, count: int, config: EndpointConfig, *, as_json: bool) -> int:
    """The whole command."""
    async with watch_interrupts() as interruption, open_runtime(max_instances=count, endpoints=config) as runtime:
        with interruption.scope:
            await _spawn_all(runtime, spec, count)
            instances = runtime.list()
            if as_json:
                sys.stdout.write(_as_json(runtime, instances))
                sys.stdout.flush()
            await (_wait(instances) if as_json else _show(runtime, instances))
    if interruption.exit_code is None:
        complain("every instance is over: " + "; ".join(_why(instance) for instance in instances))
        return FAILED
    return interruption.exit_code


async def _spawn_all(runtime: Runtime, spec: InstanceSpec, count: int) -> None:
    errors: list[Exception] = []

    async def spawn() -> None:
        try:
            await runtime.spawn(spec)
        except Exception as error:  # the first is the one that is told
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(spawn)
    if errors:
        raise errors[0]


def _as_json(runtime: Runtime, instances: Iterable[Instance]) -> str:
    told = {
        "token_file": str(runtime.endpoints.token_file),
        "instances": [{"id": each.id, "url": _url(each)} for each in instances],
    }
    return json.dumps(told) + "\n"


async def _wait(instances: Iterable[Instance]) -> None:
    for instance in instances:
        await instance.wait_stopped()


async def _show(runtime: Runtime, instances: tuple[Instance, ...]) -> None:
    """A table that is kept up to date on a terminal, and printed once elsewhere."""
    console = wide_console()
    console.print(f"token: in {runtime.endpoints.token_file}  (Authorization: Bearer ...)", soft_wrap=True)
    if not console.is_terminal:
        console.print(_table(instances))
        await _wait(instances)
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while not all(instance.state in TERMINAL for instance in instances):
            live.update(Group(_table(instances), Text("Ctrl-C ends it", style="dim")), refresh=True)
            await trio.sleep(_PERIOD)


def _table(instances: Iterable[Instance]) -> Table:
    table = Table(box=None, header_style="bold")
    for head in ("id", "endpoint", "state", "health", "model", "pid", "peers"):
        table.add_column(head, overflow="fold", no_wrap=head == "endpoint")  # which is to be copied
    for instance in instances:
        status, endpoint = instance.status(), instance.endpoint
        peers = endpoint.statistics().peers if endpoint is not None else 0
        table.add_row(
            instance.id,
            _url(instance),
            str(status.state),
            str(status.health.value),
            f"{status.provider or '-'}/{status.model or '-'}",
            str(status.pid or "-"),
            str(peers),
        )
    return table


def _url(instance: Instance) -> str:
    return instance.endpoint.url if instance.endpoint is not None else "-"


def _why(instance: Instance) -> str:
    return f"{instance.id} {instance.failure or instance.exit_status or instance.state}"
