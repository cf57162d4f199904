"""A small operating system on virtual time: processes, signals, pipes, and a host that starts trees in it."""

from __future__ import annotations

from .fault import Cut, Fault, FaultsFor, Way
from .host import SimWorld, open_world
from .kernel import Kernel, Program
from .output import Output, Stream
from .pipe import PIPE_BYTES, End
from .process import Process, Tag
from .programs import PROGRAMS
from .shell import shell
from .system import System
from .tree import SimTree
from .world import World

__all__ = [
    "PIPE_BYTES",
    "PROGRAMS",
    "Cut",
    "End",
    "Fault",
    "FaultsFor",
    "Kernel",
    "Output",
    "Process",
    "Program",
    "SimTree",
    "SimWorld",
    "Stream",
    "System",
    "Tag",
    "Way",
    "World",
    "open_world",
    "shell",
]
