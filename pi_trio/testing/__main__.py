"""Run a program against a scripted model: ``python -m pi_trio.testing [--provider P --model M] PROGRAM [ARG ...]``.

The program's Pis find a configuration in which some models of ``anthropic`` and ``openai``, and the one that is named
here, are the scripted model. It answers every prompt by repeating it, a long one in part. A prompt that names calls of
tools Pi has, such as ``draw(colour='red')``, makes it call them, and say what they returned. No account, no key, no
network.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile

import trio

from .echo import echo
from .model_server import open_model_server

_STAND_INS = {"anthropic": ["claude-sonnet-4-5", "claude-haiku-4-5"], "openai": ["gpt-5.1"]}


async def _main(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="pi-trio-scripted-") as folder:
        async with open_model_server(echo) as model:
            named = {args.provider: [args.model, *_STAND_INS.get(args.provider, ())]}
            for provider, models in {**_STAND_INS, **named}.items():
                env = model.configure(folder, provider=provider, models=dict.fromkeys(models))
            command = [sys.executable, *args.program]
            done = await trio.run_process(command, stdin=None, env={**os.environ, **env}, check=False)
    # What a shell reports of a program that a signal ended.
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def main() -> int:
    """The whole program."""
    parser = argparse.ArgumentParser(prog="python -m pi_trio.testing", description=__doc__)
    parser.add_argument("--provider", default="anthropic", help="the provider to stand in for")
    parser.add_argument("--model", default="claude-sonnet-4-5", help="the model to stand in for")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="a Python program, and its arguments")
    args = parser.parse_args()
    if not args.program:
        parser.error("name a program to run")
    try:
        return trio.run(_main, args)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
