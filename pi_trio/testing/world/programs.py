"""The programs that every simulated world has: small ones, as far as scripts in tests and tools use them."""

from __future__ import annotations

from collections.abc import Mapping

from .kernel import Program
from .shell import shell
from .system import System

__all__ = ["PROGRAMS"]


async def sleep(system: System) -> int:
    """``sleep SECONDS``."""
    await system.sleep(float(system.argv[1]))
    return 0


async def cat(system: System) -> int:
    """``cat``: stdin to stdout."""
    while data := await system.read(0):
        await system.write(1, data)
    return 0


async def head(system: System) -> int:
    """``head -c BYTES /dev/zero``."""
    await system.write(1, bytes(int(system.argv[2])))
    return 0


async def seq(system: System) -> int:
    """``seq LAST``."""
    await system.write(1, "".join(f"{number}\n" for number in range(1, int(system.argv[1]) + 1)).encode())
    return 0


async def env(system: System) -> int:
    """``env``: the environment."""
    await system.write(1, "".join(f"{name}={value}\n" for name, value in system.env.items()).encode())
    return 0


async def setsid(system: System) -> int:
    """``setsid [-f] PROGRAM ...``: it runs in a session of its own; with ``-f``, or where it must, in a child."""
    args = [argument for argument in system.argv[1:] if argument != "-f"]
    program = system.find_program(args[0])
    if "-f" in system.argv or system.group == system.pid:
        system.spawn(program, *args, new_session=True)
        return 0
    system.new_session()
    return await system.exec(program, *args)


async def nohup(system: System) -> int:
    """``nohup PROGRAM ...``: it does not mind SIGHUP."""
    system.ignore_signal("SIGHUP")
    return await system.exec(system.find_program(system.argv[1]), *system.argv[1:])


PROGRAMS: Mapping[str, Program] = {
    "/bin/bash": shell,
    "/bin/cat": cat,
    "/bin/head": head,
    "/bin/nohup": nohup,
    "/bin/seq": seq,
    "/bin/setsid": setsid,
    "/bin/sh": shell,
    "/bin/sleep": sleep,
    "/usr/bin/env": env,
}
"""By path."""
