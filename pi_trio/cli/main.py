"""The command line: parse, call, and end with the right exit code."""

from __future__ import annotations

import io
import sys
from functools import partial

import click

from .. import __version__
from ..client.dialogs import ask
from ..endpoint import EndpointConfig
from ..errors import SpecError
from ..launch import DEFAULT_PI_VERSION, THINKING_LEVELS, InstanceSpec
from .demo import demo_command
from .doctor import doctor_command
from .exits import EXIT_CODES, run_async
from .run import run_command
from .serve import serve_command
from .setup import setup_command
from .terminal import read_line, somebody_there

__all__ = ["main"]

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


class _WithPiArguments(click.Command):
    """A command that keeps what stands behind ``--`` for Pi, whatever it looks like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["pi_args"] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pitrio")
def main() -> None:
    """Run Pi coding agents, supervised: nothing is left behind."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8, or half a character from a model, is no reason to stop.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@main.command(cls=_WithPiArguments, epilog=_EPILOG, options_metavar="[OPTIONS] [-- PI_OPTIONS]")
@click.argument("prompt")
@click.option("--json", "as_json", is_flag=True, help="Print Pi's records, one a line, instead of text.")
@click.option("--provider", help="The model's provider, such as anthropic.")
@click.option("--model", help="The model's id, or a pattern for it.")
@click.option("--cwd", default=".", help="The folder Pi works in.", show_default="the current one")
@click.option("--session", help="Continue the session with this id (made if it is not there), or open this file.")
@click.option("--no-session", is_flag=True, help="Keep no session file.")
@click.option("--thinking", type=click.Choice(THINKING_LEVELS), help="How hard the model thinks.")
@click.option("--tools", help="The only tools Pi may use, separated by commas; an empty string for none.")
@click.pass_context
def run(
    ctx: click.Context,
    prompt: str,
    as_json: bool,
    provider: str | None,
    model: str | None,
    cwd: str,
    session: str | None,
    no_session: bool,
    thinking: str | None,
    tools: str | None,
) -> None:
    """Give a Pi one PROMPT ("-": read it from stdin) and stream its reply.

    A prompt that begins with a dash has to come from stdin. The text goes to stdout, what the tools do to
    stderr. What Pi's extensions ask is put to whoever is at the terminal; nobody is when the prompt comes from
    stdin. Ctrl-C aborts the run and stops the Pi politely.
    """
    dialogs = ask(read_line) if prompt != "-" and somebody_there() else None
    if prompt == "-":
        if sys.stdin is None:
            raise click.UsageError("the prompt is to be read from stdin, but stdin is closed")
        try:
            prompt = sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise click.UsageError(f"the prompt on stdin is not UTF-8: {error}") from error
    if not prompt.strip():
        raise click.UsageError("the prompt is empty")
    is_file = session is not None and ("/" in session or session.endswith(".jsonl"))
    try:
        spec = InstanceSpec(
            provider=provider,
            model=model,
            cwd=cwd,
            session=session if is_file else None,
            session_id=None if is_file else session,
            ephemeral=no_session,
            thinking=thinking,
            tools=None if tools is None else tuple(name.strip() for name in tools.split(",") if name.strip()),
            extra_args=ctx.meta["pi_args"],
            dialogs=dialogs,
        )
    except SpecError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(run_async(partial(run_command, spec, prompt, as_json=as_json)))


@main.command(cls=_WithPiArguments, epilog=_EPILOG, options_metavar="[OPTIONS] [-- PI_OPTIONS]")
@click.option("-n", "--instances", type=click.IntRange(1, 256), default=1, show_default=True, help="How many Pis.")
@click.option("--provider", help="The model's provider, such as anthropic.")
@click.option("--model", help="The model's id, or a pattern for it.")
@click.option("--cwd", default=".", help="The folder they work in.", show_default="the current one")
@click.option("--no-session", is_flag=True, help="Keep no session files.")
@click.option("--base-port", type=click.IntRange(1, 65535), help="The first port of the range for endpoints.")
@click.option("--max-port", type=click.IntRange(1, 65535), help="The last one.", show_default="999 above the first")
@click.option("--token-file", type=click.Path(dir_okay=False), help="Where the token is written, for you only.")
@click.option("--allow-origin", multiple=True, metavar="ORIGIN", help="A web page that may connect with a ticket.")
@click.option("--json", "as_json", is_flag=True, help="Print the endpoints as one line of JSON, and no table.")
@click.pass_context
def serve(
    ctx: click.Context,
    instances: int,
    provider: str | None,
    model: str | None,
    cwd: str,
    no_session: bool,
    base_port: int | None,
    max_port: int | None,
    token_file: str | None,
    allow_origin: tuple[str, ...],
    as_json: bool,
) -> None:
    """Start Pis, and serve each at ws://127.0.0.1:PORT until Ctrl-C.

    Whoever connects shows the token, which is in a file that only you can read. See docs/endpoint.md and
    docs/security.md.
    """
    if max_port is not None and base_port is None:
        raise click.UsageError("--max-port needs --base-port")
    first = base_port or 0
    last = min(65535, first + 999) if first and max_port is None else max_port or 0
    if last < first:
        raise click.UsageError(f"--max-port {last} is below --base-port {first}")
    try:
        spec = InstanceSpec(
            provider=provider,
            model=model,
            cwd=cwd,
            ephemeral=no_session,
            python_tools=(),  # so that peers can bring their own
            branching=True,
            extra_args=ctx.meta["pi_args"],
        )
        config = EndpointConfig(
            base_port=first, max_port=last, token_file=token_file, allowed_origins=tuple(allow_origin)
        )
    except (SpecError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    sys.exit(run_async(partial(serve_command, spec, instances, config, as_json=as_json)))


@main.command(epilog=_EPILOG)
@click.option("--pi-version", default=DEFAULT_PI_VERSION, show_default=True, help="Which Pi to install.")
def setup(pi_version: str) -> None:
    """Install Node.js and Pi for this user, or change the version of Pi.

    Node.js comes as a Python package, unless a new enough one is there; Pi comes from npm, into the user's
    data folder (PI_TRIO_HOME names another).
    """
    sys.exit(run_async(partial(setup_command, pi_version)))


@main.command(epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Show what was found, what is missing, and the command that mends it."""
    sys.exit(run_async(partial(doctor_command, as_json=as_json)))


@main.command(epilog=_EPILOG)
def demo() -> None:
    """Start a real Pi with a scripted model, prompt it, and show that nothing is left.

    No account, no key, no network (but for installing Pi the first time).
    """
    sys.exit(run_async(demo_command))
