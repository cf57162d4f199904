"""A session as the tree it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from .entries import Entries, Entry, LabelEntry

__all__ = ["Branch", "ConversationTree", "TreeNode"]


@attrs.frozen(eq=False)
class TreeNode:
    """An entry in its place."""

    entry: Entry
    label: str | None = None
    """What the entry was labelled last."""
    label_timestamp: str | None = None
    parent: TreeNode | None = attrs.field(default=None, init=False, repr=False)
    children: tuple[TreeNode, ...] = attrs.field(default=(), init=False, repr=lambda them: f"<{len(them)}>")
    """Oldest first."""

    @property
    def id(self) -> str:
        """The entry's id."""
        return self.entry.id


@attrs.frozen
class Branch:
    """One way through the tree, from a root to an entry that nothing follows."""

    id: str
    """The id of that last entry: what to switch to. It changes as the branch grows."""
    name: str | None
    """The label that is nearest to its end, among the entries that only this branch has."""
    entries: tuple[Entry, ...] = attrs.field(repr=lambda them: f"<{len(them)}>")
    """All of its entries, root first."""
    own_entries: int
    """How many of them, at the end, no other branch has."""
    active: bool
    """Whether the conversation is at its end."""


@attrs.frozen(eq=False, repr=False, init=False)
class ConversationTree:
    """What ``get_tree`` tells, made from ``get_entries``.

    Pi nests a level for each entry; no JSON decoder at hand takes the tree of a long conversation. So the flat list
    is asked for, and put together here in the way that Pi does it.
    """

    leaf_id: str | None
    """The entry that the next one will be a child of."""
    nodes: Mapping[str, TreeNode]
    """Every node by the id of its entry, in the order the entries were made. Cannot be changed."""
    roots: tuple[TreeNode, ...]
    """Usually one; more when the conversation was led back to before its first entry."""

    def __init__(self, session: Entries) -> None:
        labels = {each.target_id: each for each in session.entries if isinstance(each, LabelEntry)}
        nodes = {entry.id: _node(entry, labels.get(entry.id)) for entry in session.entries}
        self.__attrs_init__(session.leaf_id, MappingProxyType(nodes), _link(nodes))

    def __repr__(self) -> str:
        return f"<ConversationTree {len(self.nodes)} entries, {len(self.roots)} roots, leaf {self.leaf_id}>"

    def path(self, entry_id: str | None = None) -> tuple[TreeNode, ...]:
        """From a root to the entry with this id; to the leaf by default.

        Raises:
            KeyError: there is no such entry.
        """
        found: list[TreeNode] = []
        target = self.leaf_id if entry_id is None else entry_id
        node = None if target is None else self.nodes[target]
        while node is not None:
            found.append(node)
            node = node.parent
        return tuple(reversed(found))

    def branches(self) -> tuple[Branch, ...]:
        """Every branch, in the order of their last entries."""
        return tuple(self._branch(node) for node in self.nodes.values() if not node.children)

    def _branch(self, leaf: TreeNode) -> Branch:
        path = self.path(leaf.id)
        forks = [index for index, node in enumerate(path) if len(node.children) > 1]
        own = path[forks[-1] + 1 :] if forks else path
        name = next((node.label for node in reversed(own) if node.label), None)
        entries = tuple(node.entry for node in path)
        return Branch(leaf.id, name, entries, own_entries=len(own), active=leaf.id == self.leaf_id)


def _node(entry: Entry, labelled: LabelEntry | None) -> TreeNode:
    if labelled is None or not labelled.label:  # the last may have taken the label away
        return TreeNode(entry)
    return TreeNode(entry, labelled.label, labelled.timestamp)


def _link(nodes: Mapping[str, TreeNode]) -> tuple[TreeNode, ...]:
    """Tell each node its parent and its children; return those that have no parent."""
    roots: list[TreeNode] = []
    families: dict[str, list[TreeNode]] = {}
    for node in nodes.values():
        parent = nodes.get(node.entry.parent_id or "")
        if parent is None or parent is node:
            roots.append(node)
        else:
            object.__setattr__(node, "parent", parent)  # frozen for everybody else; and so below
            families.setdefault(parent.id, []).append(node)
    for id_, children in families.items():
        object.__setattr__(nodes[id_], "children", tuple(children))
    return tuple(roots)
