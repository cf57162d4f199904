"""How long things take: somewhere in a range, and short times as likely as long ones."""

from __future__ import annotations

import math
import random

__all__ = ["moment"]


def moment(rng: random.Random, seconds: tuple[float, float]) -> float:
    """Seconds from this range, spread evenly over its orders of magnitude: that is how real systems are late."""
    shortest, longest = seconds
    return shortest * math.pow(longest / shortest, rng.random())
