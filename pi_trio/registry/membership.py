"""Who is a member, and how each is reached."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeAlias

import attrs
import trio

from ..abc import Found
from ..client import PiClient, RemoteOptions
from ..errors import InstanceExists, InstanceNotFound
from ..lifecycle import InstanceEvent, InstanceState, ModelChanged, Registered, StateChanged, Unregistered
from .breakers import endpoint_of
from .capacity import is_usable
from .ledger import Ledger, Mark, Sender
from .remote import check_reachable, open_at_url
from .table import Entry

__all__ = ["Member", "Membership", "OpenClient"]

OpenClient: TypeAlias = Callable[[], AbstractAsyncContextManager[PiClient]]
"""Opens a client to one instance, for a body. What it raises says that the instance cannot be reached."""


@attrs.define(eq=False)
class Member:
    """One instance, and how to reach it."""

    open_client: OpenClient
    found: Found | None = None
    """How it was described; ``None`` for one that is supervised here."""
    sender: Sender | None = None
    """That of the discovery which found it."""
    silent: bool = False
    """Whether it is out of the table because it did not answer for too long."""
    watching: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class Membership(Ledger, ABC):
    """The members that are supervised here, and those that are not.

    Who is a member is decided at once, whoever decides it; the table follows. What a discovery decides goes through its
    send channel, so it may still be under way when somebody else wants to change the same instance: see ``_underway``.
    """

    def __init__(
        self, open_client: Callable[[Entry], AbstractAsyncContextManager[PiClient]] | None, remote: RemoteOptions | None
    ) -> None:
        super().__init__()
        self._open_client = open_client
        self._remote = remote
        self._members: dict[str, Member] = {}
        # How much of what discoveries decided about whom is still in the channel. Whatever is entered at once would come
        # before it, so it is no time for that.
        self._underway: Counter[str] = Counter()

    def register(self, found: Found, *, open_client: OpenClient | None = None) -> Entry:
        """Make an instance that is not supervised here a member. It counts as running, and is watched from now on.

        A client to it is opened by ``open_client``; without that as the registry was told to, or else at its URL.

        Raises:
            InstanceExists: there is a member with this id.
            ValueError: it has no URL that a client could be opened at, and nothing else says how.
        """
        name = found.instance_id
        if name in self.instances or self._underway[name]:
            raise InstanceExists(name)
        self._admit(Member(open_client or self._opener(found), found), found)
        return self.instances[name]

    def register_through(self, sender: Sender, found: Found, *, open_client: OpenClient | None = None) -> None:
        """As :meth:`register`, for a discovery: it is a member at once, and in the table behind what ``sender`` sent."""
        name = found.instance_id
        if name in self.instances and not self._underway[name]:
            raise InstanceExists(name)
        self._admit(Member(open_client or self._opener(found), found, sender), found)

    def _admit(self, member: Member, found: Found) -> None:
        if found.instance_id in self._members:
            raise InstanceExists(found.instance_id)
        self._members[found.instance_id] = member
        self._tell(member, *_beginning(found))
        self._begin_watching(member, found)

    def _tell(self, member: Member, *events: InstanceEvent) -> None:
        if member.sender is None:
            self.enter(*events)
            return
        name = events[0].instance_id
        self._underway[name] += 1
        for event in events:
            member.sender.send_nowait(event)
        member.sender.send_nowait(Mark(lambda: self._arrived(name)))

    def _arrived(self, name: str) -> None:
        self._underway[name] -= 1
        if not self._underway[name]:
            del self._underway[name]

    def enter_found(self, found: Found) -> None:
        """Enter an instance that runs somewhere else into the table."""
        self.enter(*_beginning(found))

    def change_model_through(self, sender: Sender, found: Found) -> None:
        """Another model answers at an instance that a discovery found. It stays the same member, with its leases."""
        name = found.instance_id
        member = self._members.get(name)
        if member is None or member.sender is not sender:  # somebody else has unregistered it
            return
        member.found = found
        if not member.silent:
            self._tell(member, ModelChanged(name, trio.current_time(), found.provider, found.model))

    def _opener(self, found: Found) -> OpenClient:
        open_it = self._open_client
        if open_it is None:
            check_reachable(found)
            return lambda: open_at_url(found, self._remote)
        name = found.instance_id
        # One that was unregistered for its silence is asked all the same, to have it back when it answers.
        last = Entry(name, found.provider, found.model, cwd="", profile=found.profile)
        return lambda: open_it(self.instances.get(name, last))

    def unregister(self, instance_id: str, reason: str = "") -> None:
        """Let it be a member no more. Its leases are lost; an instance that is supervised here goes on running.

        Raises:
            InstanceNotFound: there is none with this id.
        """
        member = self._members.pop(instance_id, None)
        if member is None:
            # Its end may be under way: what a discovery has let go is no member any more.
            if instance_id not in self.instances or self._underway[instance_id]:
                raise InstanceNotFound(instance_id, known=tuple(self.instances))
        elif member.found is not None:
            self._end_watching(member, member.found)
        gone = Unregistered(instance_id, trio.current_time(), reason)
        if member is not None and self._underway[instance_id]:
            self._tell(member, gone)
        elif instance_id in self.instances:
            self.enter(gone)

    def unregister_through(self, sender: Sender, instance_id: str, reason: str) -> None:
        """As :meth:`unregister`, for the discovery that found it: it is a member no more at once, the table follows."""
        member = self._members.get(instance_id)
        if member is None or member.sender is not sender:
            raise InstanceNotFound(instance_id, known=tuple(self.instances))
        assert member.found is not None
        del self._members[instance_id]
        self._end_watching(member, member.found)
        if not member.silent:
            self._tell(member, Unregistered(instance_id, trio.current_time(), reason))

    def adopt(self, instance_id: str, client: PiClient) -> None:
        """Note the client of an instance that is supervised here. Its supervisor tells all there is to tell of it."""
        self._members[instance_id] = Member(lambda: nullcontext(client))

    def is_elsewhere(self, instance_id: str) -> bool:
        """Whether this is the id of a member that is not supervised here, silent ones included."""
        member = self._members.get(instance_id)
        return member is not None and member.found is not None

    def is_known(self, instance_id: str) -> bool:
        """Whether this is the id of a member, silent ones included."""
        return instance_id in self._members

    def endpoint_of(self, instance_id: str) -> str | None:
        """What the breaker of this member is for, silent ones included; ``None`` when there is no such member."""
        entry, member = self.instances.get(instance_id), self._members.get(instance_id)
        if entry is not None:
            return endpoint_of(instance_id, entry.profile)
        return None if member is None or member.found is None else endpoint_of(instance_id, member.found.profile)

    def disown(self, instance_id: str) -> None:
        """Forget the client: the instance is over."""
        self._members.pop(instance_id, None)

    def get(self, instance_id: str) -> Entry:
        """What is known of one instance. Raises :class:`InstanceNotFound`."""
        try:
            return self.instances[instance_id]
        except KeyError:
            raise InstanceNotFound(instance_id, known=tuple(self.instances)) from None

    def all(self) -> tuple[Entry, ...]:
        """Every member, in the order they were registered."""
        return tuple(self.instances.values())

    def healthy(self) -> tuple[Entry, ...]:
        """Those that new work can be given to: they run, are not unhealthy, and their breaker is closed."""
        return tuple(filter(is_usable, self.instances.values()))

    def by_status(self, state: InstanceState) -> tuple[Entry, ...]:
        """Those that are in this state."""
        return tuple(entry for entry in self.instances.values() if entry.state is state)

    def open_client(self, instance_id: str) -> AbstractAsyncContextManager[PiClient]:
        """The instance's client, for a body: that of its supervisor, or one that is connected for the purpose.

        Raises:
            InstanceNotFound: there is none with this id.
            ClientError, OSError: on entry, when it cannot be reached.
        """
        member = self._members.get(instance_id)
        if member is None:
            raise InstanceNotFound(instance_id, known=tuple(self._members))
        return member.open_client()

    @abstractmethod
    def _begin_watching(self, member: Member, found: Found) -> None:
        """It is a member from now on, and nobody else watches it."""

    @abstractmethod
    def _end_watching(self, member: Member, found: Found) -> None:
        """It is a member no more."""


def _beginning(found: Found) -> tuple[InstanceEvent, ...]:
    name, now = found.instance_id, trio.current_time()
    return (
        Registered(name, now, provider=found.provider, model=found.model, profile=found.profile),
        StateChanged(name, now, state=InstanceState.RUNNING, incarnation=0),
    )
