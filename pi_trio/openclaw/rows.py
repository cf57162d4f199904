"""What a gateway lists: its sessions, their models and commands, and the sessions of the Pis on its host."""

from __future__ import annotations

import attrs

from ..protocol import Record, Wire

__all__ = [
    "AgentRuntime",
    "Catalog",
    "CatalogHost",
    "CatalogItem",
    "CatalogPart",
    "CatalogRow",
    "CatalogsPage",
    "CommandsPage",
    "Continued",
    "Described",
    "ModelRow",
    "ModelsPage",
    "SessionRow",
    "SessionsPage",
]


# What a gateway calls itself where a model is to be named.
_OWN_MODEL = "gateway-injected"


@attrs.frozen
class AgentRuntime(Wire):
    """What runs a session's agent."""

    id: str | None = None


@attrs.frozen
class ThinkingLevel(Wire):
    """How hard a model can think."""

    id: str


@attrs.frozen
class SessionRow(Wire):
    """One session. A 2026.5 gateway tells much less of it than a 2026.9. Times are Unix times in milliseconds."""

    key: str
    session_id: str | None = None
    kind: str | None = None
    """``direct``, ``group``, ``global``, ``unknown``, ..."""
    agent_id: str | None = None
    label: str | None = None
    display_name: str | None = None
    updated_at: float | None = None
    created_at: float | None = None
    model: str | None = None
    model_provider: str | None = None
    agent_runtime: AgentRuntime | None = None
    has_active_run: bool | None = None
    active_run_ids: tuple[str, ...] | None = None
    """The runs that go on, where the gateway knows all of them."""
    status: str | None = None
    """Of its last run: ``running``, ``done``, ..."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    thinking_level: str | None = None
    thinking_default: str | None = None
    thinking_levels: tuple[ThinkingLevel, ...] | None = None
    archived: bool | None = None

    @property
    def thinking(self) -> str:
        """How hard its model thinks."""
        return self.thinking_level or self.thinking_default or "off"

    @property
    def levels(self) -> tuple[str, ...]:
        """How hard it can think."""
        return tuple(level.id for level in self.thinking_levels or ()) or ("off",)

    @property
    def answers(self) -> tuple[str | None, str | None]:
        """The provider and the model that answer; of neither when the gateway itself said the last word.

        A 2026.5 gateway tells the model of the last message, and writes a few itself, such as what an abort left.
        """
        return (None, None) if self.model == _OWN_MODEL else (self.model_provider, self.model)

    @property
    def busy(self) -> bool:
        """Whether a run goes on, as far as it is told: ``sessions.describe`` of a 2026.5 gateway does not."""
        return bool(self.active_run_ids) if self.active_run_ids is not None else self.has_active_run is True

    @property
    def agent(self) -> str | None:
        """The agent's id; a 2026.5 gateway tells it in the key only (``agent:<id>:<rest>``)."""
        parts = self.key.split(":")
        return self.agent_id or (parts[1] if len(parts) > 2 and parts[0] == "agent" else None)


@attrs.frozen
class SessionsPage(Wire):
    """``sessions.list``: some of them, and where the next ones begin."""

    sessions: tuple[SessionRow, ...]
    next_offset: int | None = None
    has_more: bool | None = None
    total_count: int | None = None


@attrs.frozen
class Described(Wire):
    """``sessions.describe``: one session, if there is one by that key."""

    session: SessionRow | None = None


@attrs.frozen
class ModelRow(Wire):
    """One model that a gateway's agents may use."""

    id: str
    provider: str
    name: str | None = None
    reasoning: bool | None = None
    input: tuple[str, ...] | None = None
    context_window: int | None = None
    available: bool | None = None
    """Whether there is a key for it, as far as it is told."""

    @property
    def ref(self) -> str:
        """How a gateway is told that it is meant."""
        return f"{self.provider}/{self.id}"

    @property
    def as_pi(self) -> Record:
        """As Pi tells it."""
        shown = ("id", "provider", "name", "reasoning", "input", "contextWindow")
        return {key: self.raw[key] for key in shown if self.raw.get(key) is not None}


@attrs.frozen
class ModelsPage(Wire):
    """``models.list``."""

    models: tuple[ModelRow, ...] = ()


@attrs.frozen
class CommandRow(Wire):
    """Something that can be prompted as ``/name``."""

    name: str
    description: str | None = None
    source: str | None = None
    """``native``, ``skill`` or ``plugin``."""

    @property
    def as_pi(self) -> Record:
        """As Pi tells it: what is neither a skill nor a template is an extension's. Where it lives is not told."""
        source = "skill" if self.source == "skill" else "extension"
        info = {"path": "", "source": self.source or "", "scope": "user", "origin": "top-level"}
        shown = {} if self.description is None else {"description": self.description}
        return {"name": self.name, "source": source, "sourceInfo": info, **shown}


@attrs.frozen
class CommandsPage(Wire):
    """``commands.list``."""

    commands: tuple[CommandRow, ...] = ()


@attrs.frozen
class CatalogRow(Wire):
    """A session of a Pi that the gateway does not run itself, but knows of."""

    thread_id: str
    name: str | None = None
    cwd: str | None = None
    status: str | None = None
    source: str | None = None
    """``"pi-cli"``, for one."""
    model_provider: str | None = None
    session_key: str | None = None
    """The gateway's own session that goes on with it, if there is one: that is listed, too."""
    source_home_id: str | None = None
    archived: bool | None = None
    can_continue: bool | None = None
    """Whether the gateway can make a session of its own that goes on with it."""


@attrs.frozen
class CatalogError(Wire):
    """Why a plugin, or a host, has nothing to list."""

    message: str = ""


@attrs.frozen
class CatalogHost(Wire):
    """A machine with such sessions: the gateway's own, or a node of it."""

    host_id: str = ""
    kind: str | None = None
    connected: bool | None = None
    pending: bool | None = None
    """Whether it is still being asked."""
    sessions: tuple[CatalogRow, ...] = ()
    next_cursor: str | None = None
    error: CatalogError | None = None


@attrs.frozen
class Catalog(Wire):
    """What one plugin of the gateway knows."""

    id: str
    hosts: tuple[CatalogHost, ...] = ()
    error: CatalogError | None = None


@attrs.frozen
class CatalogsPage(Wire):
    """``sessions.catalog.list``."""

    catalogs: tuple[Catalog, ...] = ()

    @property
    def missing(self) -> str | None:
        """Why there may be more than it shows; ``None`` when somebody has been asked for all of it, and has answered."""
        for catalog in self.catalogs:
            for error in (catalog.error, *(host.error for host in catalog.hosts)):
                if error is not None:
                    return error.message
            if any(host.pending for host in catalog.hosts):
                return "a host has not answered yet"
        return None


@attrs.frozen
class CatalogItem(Wire):
    """Something that was said in a session of a catalog."""

    type: str
    """``userMessage``, ``agentMessage``, ``reasoning``, ``toolCall``, ``toolResult``, ``other``."""
    text: str | None = None


@attrs.frozen
class CatalogPart(Wire):
    """``sessions.catalog.read``: what was said there, the last word first, and where the earlier ones go on."""

    items: tuple[CatalogItem, ...] = ()
    next_cursor: str | None = None


@attrs.frozen
class Continued(Wire):
    """``sessions.catalog.continue``: the gateway's own session that goes on with one of a catalog."""

    session_key: str
