"""What is launched: the spec, the Pi it names, and how that Pi gets onto the machine."""

from __future__ import annotations

from .defaults import read_default_models
from .find import (
    DEFAULT_PI_VERSION,
    MINIMUM_NODE,
    MINIMUM_PI,
    PI_PACKAGE,
    NodeInstall,
    PiInstall,
    data_home,
    find_node,
    find_pi,
    installed_pi,
)
from .install import install_node, install_pi, npm_command
from .spec import THINKING_LEVELS, InstanceSpec, check_text

__all__ = [
    "DEFAULT_PI_VERSION",
    "MINIMUM_NODE",
    "MINIMUM_PI",
    "PI_PACKAGE",
    "THINKING_LEVELS",
    "InstanceSpec",
    "NodeInstall",
    "PiInstall",
    "check_text",
    "data_home",
    "find_node",
    "find_pi",
    "install_node",
    "install_pi",
    "installed_pi",
    "npm_command",
    "read_default_models",
]
