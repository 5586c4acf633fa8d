"""The calls of a node as they go over the wire: those of Flower's Fleet API, and ours beside them."""

from __future__ import annotations

import base64
import textwrap
from typing import Any

from flwr.common.constant import FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE
from flwr.proto import fab_pb2, fleet_pb2, heartbeat_pb2, message_pb2, run_pb2
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER

FLEET = "/v1/fleet/"
"""Every call is a POST to this and its name; request and answer are protobuf."""
PROTOBUF = "application/protobuf"
KEY_HEADER = FLEET_HTTP_PUBLIC_KEY_HEADER.lower()
"""Header with the node's public key, PEM in base64."""
CHUNK = FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE
"""Bytes of an array in one request, at most."""
REQUESTS: dict[str, Any] = {
    "activate-node": fleet_pb2.ActivateNodeRequest,
    "deactivate-node": fleet_pb2.DeactivateNodeRequest,
    "send-node-heartbeat": heartbeat_pb2.SendNodeHeartbeatRequest,
    "pull-messages": fleet_pb2.PullMessagesRequest,
    "push-messages": fleet_pb2.PushMessagesRequest,
    "get-run": run_pb2.GetRunRequest,
    "get-fab": fab_pb2.GetFabRequest,
    "push-object": message_pb2.PushObjectRequest,
    "pull-object": message_pb2.PullObjectRequest,
    "confirm-message-received": message_pb2.ConfirmMessageReceivedRequest,
}
"""The calls that a node needs, and no more: none registers or removes one."""

OWN = "/v1/fedmed/"
"""Our own calls; request and answer are bundles."""
BUNDLE = "application/octet-stream"
HEAD, SIZE, RUN, ANSWER = "head", "size", "run", "answer"
"""What is in them beside objects: a message without content and its tree; bytes of an answer; numbers and names."""
SMALL, TREE = 4 * 2**10, 4 * 2**20
"""Bytes of a body: of a call that says little, and of one that lists the objects of a message."""
MOST = dict.fromkeys(REQUESTS, SMALL) | {"push-messages": TREE, "push-object": CHUNK + SMALL}
MOST_OWN = {"take": SMALL, "fetch": TREE, "give": CHUNK + TREE + SMALL, "more": CHUNK + SMALL}


def pem_of(public: bytes) -> bytes:
    """A public key (SubjectPublicKeyInfo, DER) in PEM, as Flower keeps keys."""
    lines = textwrap.wrap(base64.b64encode(public).decode(), 64)
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""]).encode()
