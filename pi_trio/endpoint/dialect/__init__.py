"""``{"id", "method", "params"}``: the language of the system that this one is modelled on, as a translation."""

from __future__ import annotations

from .conversation import Dialect

__all__ = ["Dialect"]
