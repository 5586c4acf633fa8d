"""A Flower message between two processes of one machine: JSON through a pipe, tensors through shared memory.

Nothing is pickled: what a site's process sends can be malformed, but it cannot run.
"""

from __future__ import annotations

import base64
import json
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Error, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from fedmed.errors import FederationError
from fedmed.flower import identity
from fedmed.flower.arrays import array_records, borrow, view_of
from fedmed.wire import tensors as wire

SEPARATOR = "\x1f"  # between a record's name and a tensor's name


class Slot:
    """A growing piece of shared memory that one process writes and another reads, in turns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._memory: mmap.mmap | None = None

    def put(self, tensors: wire.Tensors) -> int:
        """Write `tensors`, growing the file where needed; returns the bytes used. Raises FederationError without room."""
        size = wire.size_of(tensors)
        if self._memory is None or len(self._memory) < size:
            with self.path.open("a+b") as file:
                self._grow(file.fileno(), size)
                self._memory = mmap.mmap(file.fileno(), size)
        return wire.put(tensors, memoryview(self._memory))

    def _grow(self, descriptor: int, size: int) -> None:
        try:
            os.ftruncate(descriptor, size)
            if hasattr(os, "posix_fallocate"):  # a page that cannot be had at its first touch ends the process by SIGBUS
                os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            os.ftruncate(descriptor, 0)
            raise FederationError(
                f"{self.path.parent} has no room for a model of {size} bytes: {error.strerror}; make it larger (docker run "
                "--shm-size) or give the engine fewer workers"
            ) from error

    def view(self) -> wire.Tensors:
        """Views of what the other side wrote last; they change when it writes again."""
        size = self.path.stat().st_size
        if self._memory is None or len(self._memory) != size:
            with self.path.open("rb") as file:
                self._memory = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        return wire.view(self._memory, "shared memory")


def flatten(content: RecordDict) -> wire.Tensors:
    """Every tensor of every array record, named `record SEPARATOR tensor`."""
    return {
        f"{key}{SEPARATOR}{name}": view_of(array)
        for key, record in array_records(content).items()
        for name, array in record.items()
    }


def describe(content: RecordDict) -> dict[str, Any]:
    """The records of `content` without their tensors, ready for JSON."""
    return {
        "arrays": list(array_records(content)),
        "metrics": {key: dict(record) for key, record in content.items() if isinstance(record, MetricRecord)},
        "configs": {
            key: {name: _plain(value) for name, value in record.items()}
            for key, record in content.items()
            if isinstance(record, ConfigRecord)
        },
    }


def restore(head: dict[str, Any], tensors: wire.Tensors) -> RecordDict:
    """The content that `describe` and `flatten` took apart; its arrays borrow the memory of `tensors`."""
    grouped: dict[str, dict[str, NDArray[np.generic]]] = {key: {} for key in head["arrays"]}
    for path, value in tensors.items():
        key, _, name = path.partition(SEPARATOR)
        grouped[key][name] = value
    content = RecordDict()
    for key, group in grouped.items():
        content[key] = borrow(group)
    for key, metrics in head["metrics"].items():
        content[key] = MetricRecord(metrics)
    for key, config in head["configs"].items():
        content[key] = ConfigRecord({name: _rich(value) for name, value in config.items()})
    return content


def describe_message(message: Message) -> dict[str, Any]:
    """A message without its tensors, ready for JSON."""
    meta = message.metadata
    return {
        "id": meta.message_id,
        "node": meta.dst_node_id,
        "type": meta.message_type,
        "group": meta.group_id,
        "ttl": meta.ttl,
        "content": describe(message.content),
    }


def restore_message(head: dict[str, Any], tensors: wire.Tensors) -> Message:
    """The message that `describe_message` and `flatten` took apart; this process is the center's for a moment."""
    identity.assume(identity.SERVER_NODE)
    message = Message(
        restore(head["content"], tensors),
        dst_node_id=head["node"],
        message_type=head["type"],
        ttl=head["ttl"],
        group_id=head["group"],
    )
    identity.set_message_id(message, head["id"])
    return message


def encode_reply(reply: Message) -> bytes:
    """The JSON side of a reply."""
    if reply.has_error():
        return json.dumps({"error": [reply.error.code, reply.error.reason]}).encode()
    return json.dumps(describe(reply.content)).encode()


def decode_reply(head: dict[str, Any], slot: Slot, instruction: Message) -> Message:
    """The reply to `instruction` that a site's process wrote."""
    if "error" in head:
        code, reason = head["error"]
        return Message(Error(int(code), str(reason)), reply_to=instruction)
    tensors = slot.view() if head["arrays"] else {}
    return Message(restore(head, tensors), reply_to=instruction)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return [_rich(one) for one in value]
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value
