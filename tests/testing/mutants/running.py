"""Running the harness on every mutant, each in a process of its own."""

from __future__ import annotations

import importlib
import multiprocessing
import resource
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import attrs

from .loading import install
from .mutant import Mutant

__all__ = ["Verdict", "run_mutants"]

# A mutant may loop for ever without giving Trio a chance to see it. All the plans together take half of this.
_CPU_SECONDS = 60

# What takes long to import, and is the same whatever the bug: the processes are forked from one that has it.
_SHARED = ("attrs", "cattrs", "h11", "http.client", "hypothesis.strategies", "orjson", "trio.testing")


@attrs.frozen
class Verdict:
    """What became of a mutant."""

    mutant: str
    caught_by: tuple[str, ...] = ()
    """The invariants that the first plan violated which violated any; none when it survived."""
    plans: int = 0
    """How many were run."""
    shown: str = ""
    """The violations, or how the process ended when it was for no invariant."""


def run_mutants(mutants: Sequence[Mutant], *, examples: int | None, seed: int, workers: int) -> Iterator[Verdict]:
    """Run at most so many plans on each mutant (as many as a lifecycle check has by default), until one catches it.

    Nothing of the package may have been imported. Nothing is made smaller: what counts is that it is caught.
    """
    for name in _SHARED:
        importlib.import_module(name)
    context = multiprocessing.get_context("fork")
    waiting = deque(mutants)
    running: dict[Connection, tuple[Mutant, BaseProcess]] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            mutant = waiting.popleft()
            receive, send = context.Pipe(duplex=False)
            process: BaseProcess = context.Process(target=_work, args=(mutant, examples, seed, send))
            process.start()
            send.close()
            running[receive] = mutant, process
        for ready in wait(list(running)):
            assert isinstance(ready, Connection)
            mutant, process = running.pop(ready)
            yield _verdict(mutant, ready, process)


def _verdict(mutant: Mutant, receive: Connection, process: BaseProcess) -> Verdict:
    with receive:
        try:
            verdict = receive.recv()
        except EOFError:
            verdict = None
        process.join()
    if not isinstance(verdict, Verdict):
        return Verdict(mutant.name, shown=f"its process ended with {process.exitcode}")
    return verdict


def _work(mutant: Mutant, examples: int | None, seed: int, send: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    try:
        send.send(_check(mutant, examples, seed))
    except BaseException:
        send.send(Verdict(mutant.name, shown=traceback.format_exc()))


def _check(mutant: Mutant, examples: int | None, seed: int) -> Verdict:
    install(mutant)
    from pi_trio.testing.lifecycles import LifecycleCheck, LifecycleFailure, check_lifecycles

    plans = 1

    def count(*_: object) -> None:
        nonlocal plans
        plans += 1

    check = LifecycleCheck(seed=seed, shrink=False)
    try:
        check_lifecycles(check if examples is None else attrs.evolve(check, examples=examples), progress=count)
    except LifecycleFailure as failure:
        names = tuple(dict.fromkeys(violation.invariant for violation in failure.violations))
        return Verdict(mutant.name, names, plans, "\n".join(str(violation) for violation in failure.violations[:3]))
    return Verdict(mutant.name, plans=plans - 1)
