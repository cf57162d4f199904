"""``tree.*``: the session as a tree."""

from __future__ import annotations

from typing import Any

from ...client import PiClient
from ...protocol import Branch, ConversationTree, MessageEntry, Record, TreeNode
from .wire import Call

__all__ = ["Tree"]


class Tree:
    """The methods about the tree. Its nodes are the entries of Pi's session."""

    def __init__(self, client: PiClient) -> None:
        self._client = client

    async def get(self, _: Call) -> Record:
        """The whole tree."""
        tree = await self._client.get_tree()
        return {
            "root_node_id": tree.roots[0].id if tree.roots else None,
            "current_node_id": tree.leaf_id,
            "nodes": [_node(node) for node in tree.nodes.values()],
            "branches": [_branch(tree, branch) for branch in tree.branches()],
        }

    async def branch(self, call: Call) -> Record:
        """Begin a branch at a node, by default where the conversation is."""
        name = call.take("name", str)
        node_id = call.take("node_id", str) or call.take("from_node_id", str)
        current = await self._client.branches.create(node_id, name=name)
        return await self._where(current, name)

    async def switch_branch(self, call: Call) -> Record:
        """Go to the end of a branch (its id or name), or to a node."""
        to = call.take("branch_id", str) or call.take("name", str) or call.need("node_id", str)
        return await self._where(await self._client.branches.switch(to), None)

    async def fork(self, call: Call) -> Record:
        """Go on in a new session, with the history up to before a message of the user."""
        fork = await self._client.fork(call.need("node_id", str))
        return {"session_id": self._client.session_id, "cancelled": fork.cancelled, "content": fork.text}

    async def compact(self, call: Call) -> Record:
        """Replace the older part of the history by a summary."""
        done = await self._client.compact(call.take("instructions", str))
        return {
            "summary": done.summary,
            "first_kept_node_id": done.first_kept_entry_id,
            "tokens_before": done.tokens_before,
            "tokens_after": done.estimated_tokens_after,
        }

    async def _where(self, current: str | None, name: str | None) -> Record:
        """Where the conversation is now: a branch of its own only from the next message on, unless it was named."""
        branches = (await self._client.get_tree()).branches()
        on = next((branch for branch in branches if branch.active), None)
        return {
            "branch_id": on.id if on else current,
            "name": name if on is None else on.name,
            "current_node_id": current,
        }


def _node(node: TreeNode) -> Record:
    entry = node.entry
    made: Record = {
        "id": node.id,
        "parent_id": node.parent.id if node.parent else None,
        "children": [child.id for child in node.children],
        "type": str(entry.raw.get("type", "")),
        "label": node.label,
        "created_at": entry.timestamp,
    }
    return {**made, **_message(entry.raw["message"])} if isinstance(entry, MessageEntry) else made


def _message(message: Any) -> Record:
    content = message.get("content") if isinstance(message, dict) else None
    blocks = content if isinstance(content, list) else []
    text = "".join(str(block.get("text", "")) for block in blocks if isinstance(block, dict))
    return {"role": message.get("role"), "content": content if isinstance(content, str) else text}


def _branch(tree: ConversationTree, branch: Branch) -> Record:
    return {
        "id": branch.id,
        "name": branch.name,
        "leaf_node_id": branch.id,
        "node_ids": [node.id for node in tree.path(branch.id)],
        "active": branch.active,
        "created_at": branch.entries[-branch.own_entries].timestamp if branch.own_entries else None,
    }
