"""``pitrio demo``: the main job, whole, without an account: a real Pi, a scripted model, nothing left."""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio
from rich.console import Console
from rich.markup import escape

from ..errors import NodeNotFound, PiNotFound
from ..launch import InstanceSpec, find_pi
from ..process import marked, watch_interrupts
from ..protocol import MessageEnd, MessageUpdate, ToolExecutionEnd, ToolExecutionStart
from ..runtime import open_runtime
from ..testing import ModelRequest, ToolUse, Turn, open_model_server
from .exits import FAILED, OK, complain
from .run import tool_line
from .setup import set_up

__all__ = ["demo_command"]

_PROMPT = "Which files are here, and which of them is the longest?"
_COMMAND = "wc -c *"
_FILES = {"short.txt": "Hello.\n", "long.txt": "All work and no play makes Jack a dull boy.\n" * 20}


def _script(request: ModelRequest) -> Turn:
    """The scripted model: it asks for the tool once, then says what the tool really gave back."""
    if request.tool_result is None:
        return Turn("Let me count.", tools=(ToolUse("bash", {"command": _COMMAND}),), chunk_delay=0.02)
    sizes = [line.split() for line in request.tool_result.splitlines() if len(line.split()) == 2]
    files = [(int(size), name) for size, name in sizes if size.isdigit() and name != "total"]
    if not files:
        return Turn(f"The tool gave back something unexpected: {request.tool_result}")
    return Turn(
        f"There are {len(files)} files. The longest is {max(files)[1]}, with {max(files)[0]} bytes.", chunk_delay=0.02
    )


async def demo_command() -> int:
    """The whole command."""
    console = Console(highlight=False)
    code = FAILED
    async with watch_interrupts() as interruption:
        with interruption.scope:
            try:
                await find_pi()
            except (PiNotFound, NodeNotFound) as error:
                if error.mend.startswith("unset"):
                    raise  # what is named in the environment comes first, whatever is installed
                console.print(f"{escape(str(error))}\n[bold]Doing that now (once):[/]", soft_wrap=True)
                await set_up(Console(stderr=True))
            code = await _demo(console)
    return interruption.exit_code if interruption.exit_code is not None else code


async def _demo(console: Console) -> int:
    with tempfile.TemporaryDirectory(prefix="pitrio-demo-") as folder:
        work = Path(folder, "work")
        work.mkdir()
        for name, text in _FILES.items():
            (work / name).write_text(text)
        async with open_model_server(_script) as model:
            environment = model.configure(Path(folder, "agent"))
            spec = InstanceSpec(
                provider="scripted", model="scripted-1", cwd=str(work), env=environment, ephemeral=True, tools=("bash",)
            )
            console.print(
                "[bold]A real Pi, with a scripted model:[/] the model's words come from a script "
                f"on {model.base_url}; everything else is what it is.",
                soft_wrap=True,
            )
            return await _talk(console, spec)


async def _talk(console: Console, spec: InstanceSpec) -> int:
    started = trio.current_time()
    async with open_runtime() as runtime:
        pi = await runtime.spawn(spec)
        console.print(f"[green]spawned[/] {pi.id}: pid {pi.pid}, ready after {trio.current_time() - started:.2f} s")
        console.print(f"[bold cyan]you[/]  {_PROMPT}")
        tool_worked = False
        async with pi.client.run(_PROMPT) as run:
            at_start = True
            async for event in run:
                if isinstance(event, MessageUpdate) and event.text_delta:
                    if at_start:
                        console.print("[bold magenta]pi[/]   ", end="")
                        at_start = False
                    console.out(event.text_delta, end="")
                elif isinstance(event, MessageEnd) and not at_start:
                    console.print()
                    at_start = True
                elif isinstance(event, ToolExecutionStart):
                    console.print(f"[dim]tool {escape(tool_line(event))}[/]")
                elif isinstance(event, ToolExecutionEnd):
                    tool_worked = not event.is_error
                    for line in event.text.splitlines():
                        console.print(f"[dim]     {escape(line)}[/]")
        usage = run.reply.usage
        console.print(f"[dim]{usage.total_tokens} tokens, ${usage.cost.total:.6f} (scripted, like the model)[/]")
        stopping = trio.current_time()
    console.print(f"[green]stopped[/] {pi.id}: Pi {pi.exit_status}, {trio.current_time() - stopping:.2f} s")
    left = marked({"PI_TRIO_RUN": runtime.run_id})
    console.print(f"[green]processes left:[/] {len(left)}")
    console.print(
        "\nWith a real model: put its key into the environment (ANTHROPIC_API_KEY, OPENAI_API_KEY, ...) and\n"
        '  pitrio run --provider anthropic --model claude-sonnet-4-5 "Which files are here?"',
        soft_wrap=True,
    )
    if left or not run.reply.ok or not tool_worked:
        complain(f"the demo went wrong: {run.reply.error_message or 'see above'}")
        return FAILED
    return OK
