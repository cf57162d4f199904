"""The dialogs of Pi's extensions, put to peers: to whose run it is, or to all who may answer; the first answer counts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import attrs
import trio

from ..client.branches import COMMAND as BRANCH_COMMAND
from ..protocol import DISMISSED, Dialog, DialogAnswer, Record

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["Dialogs"]


@attrs.define(eq=False)
class _Question:
    audience: set[Peer]
    changed: trio.Event = attrs.field(factory=trio.Event)
    answer: DialogAnswer | None = None


class Dialogs:
    """Knows whose run goes on, and which dialogs are open."""

    def __init__(self, everybody: Callable[[], Collection[Peer]], *, catch_up: Callable[[], None]) -> None:
        """``everybody`` gives the peers that may answer a dialog; ``catch_up`` shows them what Pi has said so far."""
        self._everybody = everybody
        self._catch_up = catch_up
        self._open: dict[str, _Question] = {}
        self._prompting: set[Peer] = set()
        self._owner: Peer | None = None
        # Pi 0.87 does not say in its answer whether a run starts. One that does, may have begun before the answer.
        self._may_start: Peer | None = None
        self._prompting_at_start: set[Peer] = set()

    def __repr__(self) -> str:
        return f"<Dialogs {len(self._open)} open, {'nobody' if self._owner is None else self._owner} has the run>"

    # --- whose run it is -------------------------------------------------------------------------------

    def prompting(self, peer: Peer) -> None:
        """It has sent a prompt: what is asked before Pi took that is its business."""
        self._prompting.add(peer)
        self._may_start = None  # Pi reads on, and so no run came of the prompt before

    def prompted(self, peer: Peer, *, started: bool | None) -> None:
        """Pi has answered. ``started``: whether with that a run of this peer's began; ``None``: Pi did not say."""
        self._prompting.discard(peer)
        began_meanwhile, self._prompting_at_start = self._prompting_at_start == {peer}, set()
        if started or (started is None and began_meanwhile):
            self._owner = peer
        elif started is None:
            self._may_start = peer

    def began(self) -> None:
        """A run has. It is the peer's whose prompt may have started it."""
        if self._may_start is not None:
            self._owner, self._may_start = self._may_start, None
        elif self._owner is None:
            self._prompting_at_start = set(self._prompting)

    @property
    def somebody_has_the_run(self) -> bool:
        """Whether a run goes on that a peer began."""
        return self._owner is not None

    @property
    def may_have_the_run(self) -> Peer | None:
        """Whose prompt was taken last, if that may have begun a run, and no run was seen to begin since."""
        return self._may_start

    def settled(self) -> None:
        """No run goes on."""
        self._owner = self._may_start = None
        self._prompting_at_start = set()

    def left(self, peer: Peer) -> None:
        """It is gone, and nobody waits for its answers."""
        self._prompting.discard(peer)
        self._prompting_at_start.discard(peer)
        if self._may_start is peer:
            self._may_start = None
        if self._owner is peer:
            self._owner = None
        for question in self._open.values():
            if peer in question.audience:
                question.audience.discard(peer)
                question.changed.set()

    def show_report(self, request: Record) -> bool:
        """Show a report of the extension for branches to whoever may have prompted for it. Nobody has to answer that:
        whether it was for the host's own client, or for a peer's, that client answers it.

        A :data:`~pi_trio.client.DialogInterceptor`, to be asked before the one of the client's own branches.
        """
        if request.get("title") == BRANCH_COMMAND:
            for peer in self._everybody():
                if peer in self._prompting:
                    peer.ask(request)
        return False

    # --- questions -------------------------------------------------------------------------------------

    async def ask(self, dialog: Dialog) -> DialogAnswer | None:
        """Put a dialog to whom it concerns, and wait for the first answer; ``None``: there is nobody (any more).

        A :class:`~pi_trio.protocol.DialogHandler`. When those whom it concerned leave, all others are asked.
        """
        self._catch_up()  # what Pi said before it asked comes before the question
        question = self._open[dialog.id] = _Question(set())
        try:
            for audience in (self._concerned, self._everybody):
                self._put_to(question, dialog.raw, audience())
                while question.audience:
                    question.changed = trio.Event()
                    await question.changed.wait()
                    if question.answer is not None:
                        return question.answer
            return None
        finally:
            del self._open[dialog.id]

    def _concerned(self) -> Collection[Peer]:
        concerned = self._prompting or ({self._owner} if self._owner is not None else set())
        return [peer for peer in self._everybody() if peer in concerned]

    def _put_to(self, question: _Question, record: Record, audience: Collection[Peer]) -> None:
        question.audience.update(audience)
        for peer in audience:
            peer.ask(record)

    def answer(self, peer: Peer, response: Record) -> None:
        """Take an ``extension_ui_response``. One to a dialog that was not put to this peer is dropped."""
        question = self._open.get(str(response.get("id")))
        if question is None or peer not in question.audience or question.answer is not None:
            return
        value = DISMISSED if response.get("cancelled") is True else response.get("value", response.get("confirmed"))
        # What is no answer to this dialog, its desk finds out, and dismisses it.
        question.answer = DISMISSED if value is None else value
        question.changed.set()
