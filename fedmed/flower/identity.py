"""Who this process is to Flower. Flower keeps it in a private class, which is touched here alone."""

from __future__ import annotations

from typing import Any

from flwr.app import Message
from flwr.supercore.task_identity import TaskIdentity

SERVER_NODE = 1


def assume(node_id: int, run_id: int = 1) -> None:
    """Make messages built in this process come from `node_id`."""
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = run_id
    TaskIdentity.node_id = node_id


def set_message_id(message: Message, message_id: str) -> None:
    """Give a message the id that Flower's own engine would give it."""
    fields: dict[str, Any] = message.metadata.__dict__
    fields["_message_id"] = message_id


def set_run_id(message: Message, run_id: int) -> None:
    """Make a message of the center's part of a run, whatever process-wide run it was built under."""
    fields: dict[str, Any] = message.metadata.__dict__
    fields["_run_id"], fields["_src_node_id"] = run_id, SERVER_NODE


def set_answered(reply: Message, message_id: str) -> None:
    """Make a reply the answer to the message of this id."""
    fields: dict[str, Any] = reply.metadata.__dict__
    fields["_reply_to_message_id"] = message_id


def set_sender(reply: Message, node_id: int) -> None:
    """Make a reply come from the node of this number."""
    fields: dict[str, Any] = reply.metadata.__dict__
    fields["_src_node_id"] = node_id
