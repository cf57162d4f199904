"""The command line: parse, call, and end with the right exit code."""

from __future__ import annotations

import io
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click

from .. import __version__
from ..client.dialogs import ask
from ..endpoint import EndpointConfig
from ..errors import SpecError
from ..launch import DEFAULT_PI_VERSION, THINKING_LEVELS, InstanceSpec
from ..lifecycle import RestartType
from ..supervisor import Strategy
from ..transport import check_url
from .attach import PiFlags, attach_command
from .check import Amount, check_command, replay_command
from .check_file import read_checked
from .demo import demo_command
from .doctor import doctor_command
from .exits import EPILOG, run_async
from .lookup import discover, select
from .run import run_command
from .serve import serve_command
from .setup import setup_command
from .terminal import read_line, somebody_there

__all__ = ["main"]


class _WithPiArguments(click.Command):
    """A command that keeps what stands behind ``--`` for Pi, whatever it looks like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["pi_args"] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pitrio")
def main() -> None:
    """Run Pi coding agents, supervised: nothing is left behind."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8, or half a character from a model, is no reason to stop.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@main.command(cls=_WithPiArguments, epilog=EPILOG, options_metavar="[OPTIONS] [-- PI_OPTIONS]")
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


@main.command(
    epilog=EPILOG,
    context_settings={"ignore_unknown_options": True},
    options_metavar="[OPTIONS]",
)
@click.argument("url")
@click.option("--token-file", type=click.File("r", encoding="utf-8"), help="Read the token from this file.")
@click.option("--mode", type=click.Choice(["rpc"]), help="Taken as Pi takes it, and always so.")
@click.option("--provider", help="With --model: have Pi use this model.")
@click.option("--model", help="With --provider: have Pi use this model.")
@click.argument("pi_args", nargs=-1, type=click.UNPROCESSED)
def attach(
    url: str,
    token_file: TextIO | None,
    mode: str | None,  # noqa: ARG001  # programs that start a Pi say it
    provider: str | None,
    model: str | None,
    pi_args: tuple[str, ...],
) -> None:
    """Speak to the Pi at URL (ws://127.0.0.1:4000) as if it were started here.

    Where stdin and stdout are a terminal, it takes prompts and streams the replies. Anywhere else it is
    `pi --mode rpc`: Pi's records, one a line, commands in and responses and events out, so that a program that drives
    a Pi drives this one. Pi's own options are taken and, but for the model, ignored: this Pi runs already.
    The token comes from --token-file, or from PI_TRIO_TOKEN.
    """
    token = token_file.read().strip() if token_file is not None else os.environ.get("PI_TRIO_TOKEN")
    ignored = list(pi_args)
    if (provider is None) != (model is None):
        ignored += [f"--provider {provider}" if model is None else f"--model {model}"]
        provider = model = None
    try:
        check_url(url, token)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(run_async(partial(attach_command, url, token, PiFlags(provider, model, ignored))))


@main.command(cls=_WithPiArguments, epilog=EPILOG, options_metavar="[OPTIONS] [-- PI_OPTIONS]")
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


@main.command(epilog=EPILOG)
@click.option("--pi-version", default=DEFAULT_PI_VERSION, show_default=True, help="Which Pi to install.")
def setup(pi_version: str) -> None:
    """Install Node.js and Pi for this user, or change the version of Pi.

    Node.js comes as a Python package, unless a new enough one is there; Pi comes from npm, into the user's
    data folder (PI_TRIO_HOME names another).
    """
    sys.exit(run_async(partial(setup_command, pi_version)))


@main.command(epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Show what was found, what is missing, and the command that mends it."""
    sys.exit(run_async(partial(doctor_command, as_json=as_json)))


@main.command(epilog=EPILOG)
def demo() -> None:
    """Start a real Pi with a scripted model, prompt it, and show that nothing is left.

    No account, no key, no network (but for installing Pi the first time).
    """
    sys.exit(run_async(demo_command))


_FILE = click.Path(dir_okay=False, path_type=Path)


def _of(*options: tuple[str, Any]) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in options if value is not None}


@main.command(epilog=EPILOG)
@click.option("--config", type=_FILE, help="A TOML file with the specs of your program.")
@click.option("--restart", type=click.Choice([each.value for each in RestartType]), help="The restart type.")
@click.option("--intensity", type=click.IntRange(0), help="At most so many restarts ...")
@click.option("--period", type=click.FloatRange(0, min_open=True), help="... in so many seconds.")
@click.option("--start-timeout", type=click.FloatRange(0), help="Seconds a Pi has to get ready.")
@click.option("--drain-timeout", type=click.FloatRange(0), help="Seconds it has after its stdin was closed.")
@click.option("--grace-timeout", type=click.FloatRange(0), help="Seconds it has after SIGTERM.")
@click.option(
    "--strategy", type=click.Choice([each.value for each in Strategy]), help="Only supervision trees like this."
)
@click.option("--examples", type=click.IntRange(1), default=1000, show_default=True, help="Run so many plans.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Run plans for so long instead.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives other plans.")
@click.option("--no-faults", is_flag=True, help="Nothing goes wrong with the simulated Pis.")
@click.option("--save", type=_FILE, help="Where a plan that goes wrong is saved.")
@click.option("--replay", type=_FILE, help="Run a saved plan once more, and nothing else.")
def check(
    config: Path | None,
    restart: str | None,
    intensity: int | None,
    period: float | None,
    start_timeout: float | None,
    drain_timeout: float | None,
    grace_timeout: float | None,
    strategy: str | None,
    examples: int,
    seconds: float | None,
    seed: int,
    no_faults: bool,
    save: Path | None,
    replay: Path | None,
) -> None:
    """Put simulated lifecycles to the test: your restart policies and time-outs, with everything going wrong.

    No process is started, no model is asked, and no real time passes in the simulation. Every promise of
    docs/testing.md is checked in each plan; what goes wrong is made as small as it can be, and shown.
    """
    if replay is not None:
        sys.exit(run_async(partial(replay_command, replay)))
    try:
        checked = read_checked(
            config,
            restart=_of(("type", restart), ("intensity", intensity), ("period", period)),
            timeouts=_of(
                ("start_timeout", start_timeout), ("drain_timeout", drain_timeout), ("grace_timeout", grace_timeout)
            ),
            strategy=strategy,
        )
    except SpecError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"{config} cannot be read: {error.strerror}") from error
    amount = Amount(examples=examples, seconds=seconds, seed=seed, faults=not no_faults)
    sys.exit(run_async(partial(check_command, checked, amount, save=save)))


main.add_command(discover)
main.add_command(select)
