"""Branches: several ways through one session."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import trio

from ..errors import BranchNotFound, ClientError, CommandFailed, RequestTimeout
from ..protocol import Branch, ConversationTree, Record
from .commands import Commands
from .desk import DialogDesk
from .requester import UNSET
from .turn import Turn

__all__ = ["COMMAND", "Branches"]

# As launch/branching.js says it.
COMMAND = "pi-trio-branch"
"""The slash command with which the extension is asked, and the title of the dialog in which it reports."""


class Branches:
    """The branches of the session that Pi is in; :attr:`pi_trio.client.PiClient.branches`.

    A session is a tree, and the conversation is at one place in it: what is said next follows there. To make a branch
    is to go back to an earlier entry. Nothing is lost by that: what followed it so far remains as another branch.
    A new *session* with a part of this one's history is made by ``fork`` and ``clone``.

    What moves the conversation needs ``InstanceSpec(branching=True)`` (an extension, for which Pi takes some
    15 milliseconds longer to start), waits for the run that goes on, and raises as ``request`` does; also
    :class:`CommandFailed` when Pi or one of its extensions refuses, and :class:`RunBusy` inside a run of
    the same task.
    """

    def __init__(self, commands: Commands, desk: DialogDesk, turn: Turn) -> None:
        self._commands = commands
        self._desk = desk
        self._turn = turn
        self._replies: dict[str, Record | None] = {}
        desk.add_interceptor(self._take_reply)

    async def tree(self) -> ConversationTree:
        """The whole session."""
        return await self._commands.get_tree()

    async def list(self) -> tuple[Branch, ...]:
        """Every branch, in the order of their last entries."""
        return (await self.tree()).branches()

    async def create(
        self,
        entry_id: str | None = None,
        *,
        name: str | None = None,
        summarize: bool = False,
        instructions: str | None = None,
    ) -> str | None:
        """Begin a branch behind any entry, by default the one where the conversation is.

        Behind a message of the user a branch begins *before* it: to say it in other words, as in Pi itself. With a
        ``name`` the branch is there at once; without, from the next prompt on. With ``summarize`` the model is told
        what is left behind (``instructions`` say on what to dwell), which takes a model call.

        Returns the id of the entry where the conversation is now; ``None`` for before the first.

        Raises:
            BranchNotFound: there is no such entry.
            ValueError: a branch has that name already, or the name is empty.
        """
        if name is not None:
            _check_name(name)
            _check_free(name, await self.list())
        return await self._move(to=entry_id, name=name, summarize=summarize, instructions=instructions)

    async def switch(self, to: str | Branch, *, summarize: bool = False, instructions: str | None = None) -> str | None:
        """Go to the end of a branch, given by itself or its name; or to any entry, by its id or label.

        Returns and raises as :meth:`create`.
        """
        if not isinstance(to, Branch | str):
            raise TypeError(f"where to go is a Branch, a name, an entry's id or a label, not {to!r}")
        target = to.id if isinstance(to, Branch) else _resolve(await self.tree(), to)
        return await self._move(to=target, summarize=summarize, instructions=instructions)

    async def rename(self, name: str) -> None:
        """Name the branch that the conversation is on, from here on.

        Raises:
            ValueError: another branch has that name, or it is empty.
        """
        _check_name(name)
        _check_free(name, [branch for branch in await self.list() if not branch.active])
        await self._move(name=name)

    # --- over the extension --------------------------------------------------------------------------

    async def _move(self, *, summarize: bool = False, **asked: str | None) -> str | None:
        # Another client of the same Pi sees these reports, too: none is to take one for its own.
        id_ = f"b{random.getrandbits(64):016x}"
        given = {key: value for key, value in asked.items() if value is not None}
        line = json.dumps({"id": id_, "summarize": summarize, **given})
        async with self._turn.take():
            await self._check_available()
            self._replies[id_] = None
            self._turn.began(id_)
            given_up = False
            try:
                await self._commands.prompt(f"/{COMMAND} {line}", timeout=None if summarize else UNSET)
            except (trio.Cancelled, RequestTimeout):
                given_up = self._commands.connected  # Pi goes on with it, and says when it is there
                raise
            finally:
                reply = self._replies.pop(id_)
                if not given_up:
                    self._turn.over(id_)
        if reply is None:
            raise ClientError("Pi did not say whether it has moved")
        error = reply.get("error")
        if isinstance(error, str) and error == f"Entry {asked.get('to')} not found":
            raise BranchNotFound(str(asked.get("to")))
        if error is not None:
            raise CommandFailed(COMMAND, str(error))
        leaf_id: str | None = reply.get("leafId")
        return leaf_id

    async def _check_available(self) -> None:
        # Without the extension, the model would be prompted with this.
        if COMMAND not in {command.name for command in await self._commands.get_commands()}:
            raise ClientError("this Pi cannot move between branches: it takes InstanceSpec(branching=True)")

    def _take_reply(self, request: Record) -> bool:
        """Intercept the dialog in which the extension reports; also one that nobody waits for any more, or that is for
        another client: it is nothing to ask a person. An endpoint has shown it to its peers by then.
        """
        if request.get("method") != "input" or request.get("title") != COMMAND:
            return False
        reply = _decoded(request.get("placeholder"))
        self._turn.over(reply.get("id"))
        if reply.get("id") in self._replies:
            self._replies[reply["id"]] = reply
        self._desk.answer(str(request.get("id")), {"value": ""})
        return True


def _check_name(name: object) -> None:
    # A label that is no text makes the session unreadable; an empty one takes a label away.
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"the name of a branch must be a string that is not empty, not {name!r}")


def _check_free(name: str, branches: Sequence[Branch]) -> None:
    if name in {branch.name for branch in branches}:
        raise ValueError(f"there is a branch {name!r} already")


def _decoded(text: Any) -> Record:
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _resolve(tree: ConversationTree, to: str) -> str:
    """The id of the entry that ``to`` means."""
    if to in tree.nodes:
        return to
    branches = tree.branches()
    ends = [branch.id for branch in branches if branch.name == to]
    labelled = [node.id for node in tree.nodes.values() if node.label == to]
    if not ends and not labelled:
        raise BranchNotFound(to, known=tuple(branch.name for branch in branches if branch.name))
    return (ends or labelled)[-1]
