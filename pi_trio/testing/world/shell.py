"""A small shell for the simulated world: what agents' tools and the tests of hosts do with ``sh -c``."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

import trio

from ...abc import ExitStatus
from .pipe import End
from .process import Process
from .shell_syntax import Item, Loop, Node, Redirect, Simple, Subshell, SyntaxNotSimulated, expand, parse
from .signals import DEFAULT_ACTIONS
from .system import System

__all__ = ["shell"]

# The numbers of signals are part of a shell's exit codes.
_NUMBERS = {"SIGHUP": 1, "SIGINT": 2, "SIGKILL": 9, "SIGUSR1": 10, "SIGPIPE": 13, "SIGTERM": 15}

_SYNTAX_ERROR = 2
_NOT_FOUND = 127


class _Exit(Exception):
    """The shell exits."""

    def __init__(self, code: int) -> None:
        self.code = code


async def shell(system: System) -> int:
    """``sh -c SCRIPT``. One command is executed in the shell's place, as bash does."""
    script = system.argv[-1]
    try:
        return await _Shell(system).run_script(parse(script))
    except SyntaxNotSimulated as error:
        await system.write(2, f"sh: {error}\n".encode())
        return _SYNTAX_ERROR


class _Shell:
    def __init__(self, system: System) -> None:
        self._system = system
        self._status = 0
        self._variables: dict[str, str] = {}
        self._traps: dict[str, str] = {}
        self._caught: list[str] = []
        self._reading: trio.CancelScope | None = None
        self._input = b""
        self._last_job: Process | None = None
        self._jobs: list[Process] = []

    async def run_script(self, items: tuple[Item, ...]) -> int:
        try:
            if len(items) == 1 and items[0].separator == ";" and isinstance(items[0].node, Simple):
                await self._run_simple(items[0].node, replace=True)
            else:
                await self._run_list(items)
        except _Exit as end:
            return end.code
        return self._status

    # --- lists ------------------------------------------------------------------------------------------------

    async def _run_list(self, items: tuple[Item, ...]) -> None:
        skip = False
        for item in items:
            if not skip:
                if item.separator == "&":
                    self._run_in_background(item.node)
                else:
                    await self._run(item.node)
                await self._run_traps()
            skip = (item.separator == "&&" and self._status != 0) or (item.separator == "||" and self._status == 0)

    async def _run(self, node: Node) -> None:
        if isinstance(node, Simple):
            await self._run_simple(node)
        elif isinstance(node, Subshell):
            await self._wait(self._fork((Item(node, ";"),)))
        else:
            await self._run_loop(node)

    async def _run_loop(self, loop: Loop) -> None:
        while True:
            await self._run_list(loop.condition)
            if self._status != 0:
                self._status = 0
                return
            await self._run_list(loop.body)

    def _run_in_background(self, node: Node) -> None:
        self._last_job = self._fork((Item(node, ";"),), fds={0: End(None, writing=False)})
        self._jobs.append(self._last_job)
        self._status = 0

    def _fork(self, items: tuple[Item, ...], fds: Mapping[int, End] | None = None) -> Process:
        body = items[0].node.body if isinstance(items[0].node, Subshell) else items

        async def child(system: System) -> int:
            return await _Shell(system).run_script(body)

        return self._system.spawn(child, "sh", fds=fds)

    async def _wait(self, child: Process) -> None:
        self._status = _code(await self._system.wait(child))

    # --- simple commands --------------------------------------------------------------------------------------

    async def _run_simple(self, command: Simple, *, replace: bool = False) -> None:
        words = [expand(word, self._variable) for word in command.words]
        if words and words[0] == "exec":
            replace, words = True, words[1:]
            self._redirect_for_good(command.redirects)
            if not words:
                return
        elif words and words[0] in _BUILTINS:
            await self._run_builtin(words, command.redirects)
            return
        if words and re.fullmatch(r"\w+=.*", words[0], re.DOTALL):
            name, _, value = words[0].partition("=")
            self._variables[name] = value
            return
        try:
            program = self._system.find_program(words[0])
        except FileNotFoundError:
            await self._system.write(2, f"sh: {words[0]}: not found\n".encode())
            self._status = _NOT_FOUND
            return
        if replace:
            self._redirect_for_good(command.redirects)
            raise _Exit(await self._system.exec(program, *words))
        child = self._system.spawn(program, *words, fds=self._redirected(command.redirects))
        await self._wait(child)

    def _redirected(self, redirects: tuple[Redirect, ...]) -> dict[int, End] | None:
        fds: dict[int, End] = {}
        for redirect in redirects:
            target = redirect.target
            if not target.startswith("&"):
                fds[redirect.fd] = End(None, writing=redirect.fd != 0)
            elif target != "&-":
                wanted = int(target[1:])
                fds[redirect.fd] = fds[wanted].clone() if wanted in fds else self._system.descriptor(wanted)
        return fds or None

    def _redirect_for_good(self, redirects: tuple[Redirect, ...]) -> None:
        for redirect in redirects:
            if redirect.target == "&-":
                self._system.close(redirect.fd)
        for fd, end in (self._redirected(redirects) or {}).items():
            self._system.adopt(fd, end)

    def _variable(self, name: str) -> str:
        if name == "$":
            return str(self._system.pid)
        if name == "?":
            return str(self._status)
        if name == "!":
            return "" if self._last_job is None else str(self._last_job.pid)
        return self._variables.get(name, self._system.env.get(name, ""))

    # --- builtins ---------------------------------------------------------------------------------------------

    async def _run_builtin(self, words: list[str], redirects: tuple[Redirect, ...]) -> None:
        out = 1
        for redirect in redirects:
            if redirect.fd == 1:
                out = int(redirect.target[1:]) if re.fullmatch(r"&\d", redirect.target) else -1
        self._status = await _BUILTINS[words[0]](self, words[1:], out)

    async def _write(self, fd: int, text: str) -> int:
        if fd >= 0:
            await self._system.write(fd, text.encode())
        return 0

    async def _echo(self, args: list[str], out: int) -> int:
        return await self._write(out, " ".join(args) + "\n")

    async def _printf(self, args: list[str], out: int) -> int:
        return await self._write(out, args[0].replace("\\n", "\n"))

    async def _exit(self, args: list[str], _: int) -> int:
        raise _Exit(int(args[0]) if args else self._status)

    async def _pwd(self, _args: list[str], out: int) -> int:
        return await self._write(out, f"{self._system.cwd}\n")

    async def _true(self, _args: list[str], _: int) -> int:
        await self._system.sleep(0)  # or a loop of it would let nobody else run
        return 0

    async def _false(self, _args: list[str], _: int) -> int:
        return 1

    async def _read(self, args: list[str], _: int) -> int:
        """``read NAME``; a signal with a trap interrupts it."""
        while b"\n" not in self._input:
            with trio.CancelScope() as self._reading:
                data = await self._system.read(0)
            interrupted, self._reading = self._reading.cancelled_caught, None
            if interrupted:
                await self._run_traps()
                continue
            if not data:
                return 1
            self._input += data
        line, self._input = self._input.split(b"\n", 1)
        if args:
            self._variables[args[0]] = line.decode("utf-8", "replace")
        return 0

    async def _trap(self, args: list[str], _: int) -> int:
        for name in args[1:]:
            signal = f"SIG{name}"
            if args[0]:
                self._traps[signal] = args[0]
                self._system.on_signal(signal, self._catch)
            else:
                self._system.ignore_signal(signal)
        return 0

    async def _kill(self, args: list[str], _: int) -> int:
        name = "SIGTERM"
        for word in args:
            if word.startswith("-") and f"SIG{word[1:]}" in DEFAULT_ACTIONS:
                name = f"SIG{word[1:]}"
            elif word.startswith("-"):
                self._system.kill_group(int(word[1:]), name)
            elif not self._system.kill_pid(int(word), name):
                return 1
        await self._system.sleep(0)  # should it have been itself, it goes no further
        return 0

    async def _wait_all(self, _args: list[str], _: int) -> int:
        for job in self._jobs:
            await self._wait(job)
        self._jobs.clear()
        return 0

    # --- traps ------------------------------------------------------------------------------------------------

    def _catch(self, name: str) -> None:
        self._caught.append(name)
        if self._reading is not None:
            self._reading.cancel()

    async def _run_traps(self) -> None:
        while self._caught:
            await self._run_list(parse(self._traps[self._caught.pop(0)]))


_Builtin = Callable[[_Shell, list[str], int], Awaitable[int]]

_BUILTINS: dict[str, _Builtin] = {
    ":": _Shell._true,
    "echo": _Shell._echo,
    "exit": _Shell._exit,
    "false": _Shell._false,
    "kill": _Shell._kill,
    "printf": _Shell._printf,
    "pwd": _Shell._pwd,
    "read": _Shell._read,
    "trap": _Shell._trap,
    "true": _Shell._true,
    "wait": _Shell._wait_all,
}


def _code(status: ExitStatus) -> int:
    """A status as ``$?`` has it."""
    return 128 + _NUMBERS.get(status.signal or "", 0) if status.code is None else status.code
