"""Models, as Pi describes them."""

from __future__ import annotations

import attrs

from .convert import Wire

__all__ = ["CycledModel", "Model", "ModelCost"]


@attrs.frozen
class ModelCost(Wire):
    """Prices, in US dollars per million tokens."""

    input: float = 0.0
    output: float = 0.0
    cache_read: float = 0.0
    cache_write: float = 0.0


@attrs.frozen
class Model(Wire):
    """A configured model. Sizes are in tokens; what only some providers have is in ``raw``."""

    id: str
    provider: str
    name: str | None = None
    api: str | None = None
    base_url: str | None = None
    reasoning: bool | None = None
    """Whether it can think before it answers."""
    input: tuple[str, ...] | None = None
    """What it takes: ``text``, ``image``."""
    context_window: int | None = None
    max_tokens: int | None = None
    """The longest answer."""
    cost: ModelCost | None = None


@attrs.frozen
class CycledModel(Wire):
    """``cycle_model``: the model it came to."""

    model: Model
    thinking_level: str
    is_scoped: bool
    """Whether it cycles through a chosen list (Pi's ``--models``), not through all there are."""
