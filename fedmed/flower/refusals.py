"""Who a node's call comes from, and what is refused before anything is done for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.proto.message_pb2 import ObjectTree
from google.protobuf.message import DecodeError

from fedmed.flower.calls import REQUESTS

UNAUTHORISED, FORBIDDEN, BAD, TOO_LARGE, TOO_FAR, NO_ROOM = 401, 403, 400, 413, 426, 507
"""Of HTTP; the last is WebDAV's (RFC 4918, 11.5)."""


class CallRefused(Exception):
    """A node's call that is not served; the text is the reason, for the node."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        """Of HTTP."""


@dataclass(frozen=True)
class Node:
    """A registered clinic."""

    number: int
    key: bytes
    """Its public key as Flower keeps it, PEM."""


def parsed(call: str, body: bytes) -> Any:
    """The request of one of Flower's calls. Raises CallRefused for a body that is none."""
    try:
        return REQUESTS[call].FromString(body)
    except DecodeError as error:
        raise CallRefused(BAD, f"{call}: the body is no such request") from error


def refuse_other_nodes(call: str, request: Any, node: Node) -> None:
    """What a request says of its sender has to be what the certificate says."""
    if call == "activate-node":
        its_own = request.public_key == node.key
    elif call == "deactivate-node":
        its_own = request.node_id == node.number
    else:
        its_own = request.node.node_id == node.number
    if not its_own:
        raise CallRefused(UNAUTHORISED, f"{call}: the request speaks for another node than its certificate")
    if call != "push-messages":
        return
    if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
        raise CallRefused(BAD, f"{call}: one message and its tree are needed")
    refuse_other_senders(call, request.messages_list[0].metadata, request.message_object_trees[0], node)


def refuse_other_senders(call: str, told: Any, tree: ObjectTree, node: Node) -> None:
    """Raises CallRefused for an answer (its metadata and tree) that is not of this node, or is none."""
    if told.src_node_id != node.number or told.dst_node_id != SUPERLINK_NODE_ID:
        raise CallRefused(UNAUTHORISED, f"{call}: the message names another sender than its certificate")
    if not told.reply_to_message_id or told.message_id != tree.object_id:
        raise CallRefused(BAD, f"{call}: the message is no answer, or its id is not that of its tree")
