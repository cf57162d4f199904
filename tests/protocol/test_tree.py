"""The tree that is made of a session's entries."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.protocol import (
    ConversationTree,
    CustomEntry,
    Entries,
    MessageEntry,
    Record,
    UnknownEntry,
    UserMessage,
    structure,
)
from tests.protocol.strategies import properties


def entry(id_: str, parent: str | None, type_: str = "custom", **fields: Any) -> Record:
    least = {"custom": {"customType": "x"}, "label": {"targetId": "?"}}.get(type_, {})
    return {"type": type_, "id": id_, "parentId": parent, "timestamp": f"2026-01-01T00:00:00.{id_}Z", **least, **fields}


def tree(*entries: Record, leaf: str | None = None) -> ConversationTree:
    return ConversationTree(structure({"entries": list(entries), "leafId": leaf}, Entries))


def ids(branch: Any) -> str:
    return "".join(each.id for each in branch.entries)


def test_an_empty_session() -> None:
    empty = tree()
    assert (empty.roots, empty.branches(), empty.path()) == ((), (), ())


def test_branches_and_their_names() -> None:
    # a - b - c - d(label c: "old", then "main")
    #      \- e - f(label e: "other")
    session = tree(
        entry("a", None),
        entry("b", "a"),
        entry("c", "b"),
        entry("d", "c", "label", targetId="c", label="old"),
        entry("e", "b"),
        entry("f", "e", "label", targetId="e", label="other"),
        entry("g", "f", "label", targetId="c", label="main"),
        entry("h", "g", "label", targetId="a", label="shared"),
        leaf="h",
    )
    main, other = session.branches()
    assert (main.id, main.name, main.active, ids(main), main.own_entries) == ("d", "main", False, "abcd", 2)
    assert (other.id, other.name, other.active, ids(other), other.own_entries) == ("h", "other", True, "abefgh", 4)
    assert session.nodes["c"].label_timestamp == session.nodes["g"].entry.timestamp
    assert [node.id for node in session.path("f")] == list("abef")
    assert session.path("f")[-1].parent is session.nodes["e"]


def test_it_cannot_be_changed() -> None:
    session = tree(entry("a", None), entry("b", "a"), leaf="b")
    root, leaf = session.path()
    assert (root.children, leaf.parent, leaf.children) == ((leaf,), root, ())
    for whole, field in (
        (session, "roots"),
        (session, "leaf_id"),
        (root, "children"),
        (leaf, "parent"),
        (leaf, "label"),
    ):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(whole, field, None)
    with pytest.raises(TypeError):
        session.nodes["c"] = root  # type: ignore[index]


def test_a_label_is_taken_away() -> None:
    session = tree(
        entry("a", None), entry("b", "a", "label", targetId="a", label="x"), entry("c", "b", "label", targetId="a")
    )
    assert (session.nodes["a"].label, session.nodes["a"].label_timestamp) == (None, None)
    assert session.branches()[0].name is None


@pytest.mark.parametrize(("id_", "parent"), [("b", "nowhere"), ("b", "b"), ("b", None)])
def test_an_entry_without_a_parent_is_a_root(id_: str, parent: str | None) -> None:
    session = tree(entry("a", None), entry(id_, parent), leaf=id_)
    assert [root.id for root in session.roots] == ["a", "b"]
    assert [node.id for node in session.path()] == ["b"]


def test_entries_that_are_not_known_keep_their_place() -> None:
    session = tree(entry("a", None), {**entry("b", "a"), "type": "new"}, entry("c", "b"), leaf="c")
    assert [type(node.entry) for node in session.path()] == [CustomEntry, UnknownEntry, CustomEntry]


def test_a_message_entry_has_its_message() -> None:
    (node,) = tree(entry("a", None, "message", message={"role": "user", "content": "hi"}), leaf="a").path()
    assert isinstance(node.entry, MessageEntry)
    assert isinstance(node.entry.message, UserMessage)
    assert node.entry.message.text == "hi"


@properties
@given(st.lists(st.integers(0, 1_000_000), max_size=40))
def test_every_entry_is_on_the_branches_that_lead_through_it(parents: list[int]) -> None:
    entries = [entry("0", None)]
    for number, parent in enumerate(parents, 1):
        entries.append(entry(str(number), str(parent % number)))
    session = tree(*entries, leaf="0")
    branches = session.branches()
    assert {each.id for branch in branches for each in branch.entries} == set(session.nodes)
    assert [branch.id for branch in branches] == [id_ for id_, node in session.nodes.items() if not node.children]
    for branch in branches:
        shared = branch.entries[: -branch.own_entries]
        assert all(sum(each in other.entries for other in branches) > 1 for each in shared)
        assert all(
            sum(each in other.entries for other in branches) == 1 for each in branch.entries[-branch.own_entries :]
        )
