"""Commands about what Pi is told to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from ..protocol import ImageContent, QueueContents, Record, response_data
from .arguments import check_flag, check_one_of
from .requester import UNSET, Requester, Unset

__all__ = ["PromptCommands", "QueueMode"]

QueueMode: TypeAlias = Literal["all", "one-at-a-time"]


_QUEUE_MODES = ("all", "one-at-a-time")


def _message(message: str, images: Sequence[ImageContent]) -> Record:
    params: Record = {"message": message}
    if images:
        params["images"] = [_image(image) for image in images]
    return params


def _image(image: object) -> Record:
    if not isinstance(image, ImageContent) or {type(image.data), type(image.mime_type)} != {str}:
        raise TypeError(f"an image is an ImageContent(data=<base64 text>, mime_type=<string>), not {image!r:.100}")
    return {"type": "image", "data": image.data, "mimeType": image.mime_type}


def _disposition(data: Any) -> str | None:
    disposition = data.get("disposition") if isinstance(data, dict) else None
    return disposition if isinstance(disposition, str) else None


class PromptCommands(Requester):
    """Prompts, the queue behind them, and how they end."""

    async def prompt(
        self,
        message: str,
        *,
        images: Sequence[ImageContent] = (),
        streaming_behavior: Literal["steer", "followUp"] | None = None,
        timeout: float | Unset | None = UNSET,
        on_response: Callable[[Record], None] | None = None,
    ) -> str | None:
        """Submit a prompt, and return when Pi took it. ``run`` and ``send`` see it through.

        A command of an extension (``/name``) is over when Pi answers: give one that takes its time a ``timeout``.
        While Pi is busy, ``streaming_behavior`` says what becomes of it; without one Pi refuses it then.

        Returns Pi's disposition: ``"started"``, ``"queued"`` or ``"handled"`` (no run starts); ``None`` from
        a Pi that does not say (0.87).
        """
        params = _message(message, images)
        if streaming_behavior is not None:
            params["streamingBehavior"] = streaming_behavior
        return _disposition(await self.request("prompt", params, timeout=timeout, on_response=on_response))

    async def steer(self, message: str, *, images: Sequence[ImageContent] = ()) -> str | None:
        """Queue a message that the model gets before its next turn. Returns the disposition, as :meth:`prompt`."""
        return _disposition(await self.request("steer", _message(message, images)))

    async def follow_up(self, message: str, *, images: Sequence[ImageContent] = ()) -> str | None:
        """Queue a message that the model gets when it would be done. Returns the disposition, as :meth:`prompt`."""
        return _disposition(await self.request("follow_up", _message(message, images)))

    async def abort(self, *, timeout: float | Unset | None = UNSET) -> None:
        """Stop what Pi is doing, a compaction too, and wait until it is idle. What is queued, it goes on with."""
        await self.request("abort", timeout=timeout)

    async def clear_queue(self) -> QueueContents:
        """Take back the steering and follow-up messages that Pi has not looked at."""
        return response_data("clear_queue", await self.request("clear_queue"), QueueContents)

    async def set_steering_mode(self, mode: QueueMode) -> None:
        """How many steering messages the model gets before a turn. Raises :class:`ValueError` for another mode."""
        check_one_of("mode", mode, _QUEUE_MODES)
        await self.request("set_steering_mode", {"mode": mode})

    async def set_follow_up_mode(self, mode: QueueMode) -> None:
        """How many follow-up messages the model gets when it would be done. Raises :class:`ValueError` for another mode."""
        check_one_of("mode", mode, _QUEUE_MODES)
        await self.request("set_follow_up_mode", {"mode": mode})

    async def set_auto_retry(self, enabled: bool) -> None:
        """Whether Pi asks again by itself when a provider is overloaded, or fails for a moment."""
        check_flag("enabled", enabled)
        await self.request("set_auto_retry", {"enabled": enabled})

    async def abort_retry(self) -> None:
        """Do not wait for the next attempt of a retry that is going on, nor make one."""
        await self.request("abort_retry")

    async def abort_bash(self) -> None:
        """End every shell command that was started with ``bash``."""
        await self.request("abort_bash")
