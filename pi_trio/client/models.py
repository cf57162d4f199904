"""Commands about which model answers, and how hard it thinks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from ..errors import ProviderUnavailable
from ..protocol import CycledModel, Model, response_data, response_field
from .requester import Requester

__all__ = ["ModelCommands"]


class ModelCommands(Requester):
    """The model, its provider, and its thinking level. A change takes effect at the next turn, and outlives a restart."""

    default_models: Callable[[], Awaitable[Mapping[str, str]]] | None = None
    """Tells the id of each provider's default model, which no command of Pi does: for whoever knows the Pi behind the
    connection. ``None`` where nobody does, as for a remote one."""

    async def set_model(self, provider: str, model_id: str) -> Model:
        """Switch to a model. One that Pi does not know, or has no key for, is refused."""
        data = await self.request("set_model", {"provider": provider, "modelId": model_id})
        model = response_data("set_model", data, Model)
        await self._refresh()
        return model

    async def cycle_model(self) -> CycledModel | None:
        """Switch to the next model; ``None`` when there is only one."""
        data = await self.request("cycle_model")
        cycled = None if data is None else response_data("cycle_model", data, CycledModel)
        await self._refresh()
        return cycled

    async def get_available_models(self) -> tuple[Model, ...]:
        """The models that Pi has a key for."""
        data = await self.request("get_available_models")
        models: tuple[Model, ...] = response_field("get_available_models", data, "models", tuple[Model, ...])
        return models

    async def switch_provider(self, provider: str, model: str | None = None) -> Model:
        """Switch to a provider: to its model with this id, or to the one that Pi would take.

        That is the provider's default, as it is in the Pi that is installed here; or the first that Pi lists for the
        provider, where it has no default or that is not to be had. The default of a Pi that runs elsewhere
        (:func:`open_client`) is not known: there it is always the first.

        Raises:
            ProviderUnavailable: Pi does not know the provider or has no key for it, or it has no such model.
        """
        models = await self.get_available_models()
        ids = [each.id for each in models if each.provider == provider]
        if not ids or (model is not None and model not in ids):
            providers = tuple(dict.fromkeys(each.provider for each in models))
            raise ProviderUnavailable(provider, model, providers=providers, models=tuple(ids))
        return await self.set_model(provider, await self._default_of(provider, ids) if model is None else model)

    async def _default_of(self, provider: str, ids: Sequence[str]) -> str:
        if self.default_models is not None:
            default = (await self.default_models()).get(provider)
            if default is not None and default in ids:
                return default
        return ids[0]

    async def set_thinking_level(self, level: str) -> None:
        """Think this hard: ``off``, ``minimal``, ``low``, ``medium``, ``high``, ``xhigh`` or ``max``.

        A level that the model does not have becomes the nearest that it has.
        """
        await self.request("set_thinking_level", {"level": level})
        await self._refresh()

    async def cycle_thinking_level(self) -> str | None:
        """Go to the next level, and return it; ``None`` when the model does not think."""
        data = await self.request("cycle_thinking_level")
        level: str | None = None if data is None else response_field("cycle_thinking_level", data, "level", str)
        await self._refresh()
        return level

    async def get_available_thinking_levels(self) -> tuple[str, ...]:
        """The levels that the model has; only ``"off"`` when it does not think."""
        data = await self.request("get_available_thinking_levels")
        levels: tuple[str, ...] = response_field("get_available_thinking_levels", data, "levels", tuple[str, ...])
        return levels
