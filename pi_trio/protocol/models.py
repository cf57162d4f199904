"""Models, as Pi describes them."""

from __future__ import annotations

from typing import Any

import attrs

from .convert import Wire

__all__ = ["CycledModel", "ImageLimits", "ImageResize", "InputLimits", "Model", "ModelCost", "ModelCostTier"]


@attrs.frozen
class ModelCostTier(Wire):
    """Prices as in :class:`ModelCost`, for requests of more than ``input_tokens_above`` tokens."""

    input_tokens_above: int
    input: float = 0.0
    output: float = 0.0
    cache_read: float = 0.0
    cache_write: float = 0.0


@attrs.frozen
class ModelCost(Wire):
    """Prices, in US dollars per million tokens."""

    input: float = 0.0
    output: float = 0.0
    cache_read: float = 0.0
    cache_write: float = 0.0
    tiers: tuple[ModelCostTier, ...] | None = None
    """The highest that a request is above has the prices for all of it."""


@attrs.frozen
class ImageResize(Wire):
    """What Pi makes of an image before it is sent. ``max_bytes`` is of the base64 text."""

    max_width: int | None = None
    max_height: int | None = None
    max_bytes: int | None = None
    jpeg_quality: float | None = None


@attrs.frozen
class ImageLimits(Wire):
    """How many images a model takes."""

    max_per_message: int | None = None
    max_per_request: int | None = None
    resize: ImageResize | None = None


@attrs.frozen
class InputLimits(Wire):
    """How much a provider takes at once."""

    max_request_bytes: int | None = None
    images: ImageLimits | None = None


@attrs.frozen
class Model(Wire):
    """A configured model. Sizes are in tokens."""

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
    thinking_level_map: dict[str, str | None] | None = None
    """The provider's word for each of Pi's thinking levels; ``None`` for a level that the model does not have."""
    input_limits: InputLimits | None = None
    prompt_cache: dict[str, float] | None = None
    """How many seconds the provider keeps a prompt, for ``short`` and ``long``."""
    sampling_params: dict[str, Any] | None = None
    """What is sent along by default, such as ``temperature``."""
    headers: dict[str, str] | None = None
    compat: dict[str, Any] | None = None
    """In what the provider differs from others with its API."""
    type: str | None = None
    """``chat`` (since 1.5)."""


@attrs.frozen
class CycledModel(Wire):
    """``cycle_model``: the model it came to."""

    model: Model
    thinking_level: str
    is_scoped: bool
    """Whether it cycles through a chosen list (Pi's ``--models``), not through all there are."""
