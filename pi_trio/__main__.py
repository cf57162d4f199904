"""``python -m pi_trio`` is ``pitrio``."""

from __future__ import annotations

from .cli import main

main()
