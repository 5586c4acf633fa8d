"""A message as Flower sends it: a head, and a tree of objects named by the SHA-256 of what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass

from flwr.app import ArrayRecord, Error, Message, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from fedmed.errors import ProtocolRefused
from fedmed.flower import arrays, identity


@dataclass(frozen=True)
class Parcel:
    """A message ready to be sent; its id is that of its root."""

    head: Message
    tree: ObjectTree
    objects: Mapping[str, bytes]

    @property
    def id(self) -> str:
        """The message's id."""
        return str(self.tree.object_id)

    @property
    def size(self) -> int:
        """Bytes of all its objects."""
        return sum(map(len, self.objects.values()))

    def head_bytes(self) -> bytes:
        """Head and tree in one file."""
        both = PullMessagesResponse(messages_list=[message_to_proto(self.head)], message_object_trees=[self.tree])
        return bytes(both.SerializeToString())


def owned(content: RecordDict) -> RecordDict:
    """The same records with arrays of their own, as any Flower code expects them."""
    copy = RecordDict()
    for key, record in content.items():
        copy[key] = arrays.own(arrays.views(record)) if isinstance(record, ArrayRecord) else record
    return copy


def pack(message: Message) -> Parcel:
    """A message of this process in the form that Flower sends."""
    return next(pack_all([message]))


def pack_all(messages: list[Message]) -> Iterator[Parcel]:
    """The same for several; a content that they share is made ready once."""
    made: dict[int, tuple[RecordDict, ObjectTree, dict[str, bytes]]] = {}
    for message in messages:
        objects: dict[str, bytes] = {}
        with no_object_id_recompute():
            if not message.has_content():
                head, body = message, None
            else:
                if id(message.content) not in made:
                    content = owned(message.content)
                    nested = {name: each.deflate() for name, each in get_all_nested_objects(content).items()}
                    made[id(message.content)] = (content, get_object_tree(content), nested)
                content, body, nested = made[id(message.content)]
                objects.update(nested)
                head = make_message(message.metadata, content=content)
            root = _root(head, body)
            objects[root.object_id] = head.deflate()
        identity.set_message_id(head, root.object_id)
        yield Parcel(remove_content_from_message(head), root, objects)


def error_for(head: Message, error: Error) -> Message:
    """An error in the place of an answer."""
    message = make_message(copy(head.metadata), error=error)
    identity.set_message_id(message, "")
    return message


def _root(head: InflatableObject, body: ObjectTree | None) -> ObjectTree:
    return ObjectTree(object_id=head.object_id, children=[] if body is None else [body])


def head_of(said: bytes) -> tuple[Message, ObjectTree]:
    """Head and tree out of one file. Raises ProtocolRefused for anything else."""
    found = PullMessagesResponse.FromString(said)
    if len(found.messages_list) != 1 or len(found.message_object_trees) != 1:
        raise ProtocolRefused("a message without head or tree: the file is not whole")
    return message_from_proto(found.messages_list[0]), found.message_object_trees[0]


def ids_in(tree: ObjectTree) -> list[str]:
    """Every object of a tree once, children before parents."""
    return list(dict.fromkeys(each.object_id for each in iterate_object_tree(tree)))


def unpack(head: Message, objects: dict[str, bytes]) -> Message:
    """The message with its content, as the head says who sent what for what; `objects` is used up.

    Raises ProtocolRefused for objects that make no message, or whose arrays are none.
    """
    message_id = head.metadata.message_id
    try:
        found = inflate_object_from_contents(message_id, objects)
        if not isinstance(found, Message) or not found.has_content():
            raise ValueError(f"{type(found).__name__} without content, where a message is needed")
        arrays.all_views(found.content)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ProtocolRefused(
            f"the message's objects cannot be read ({type(error).__name__}: {error}); it was made by other software"
        ) from error
    return make_message(head.metadata, content=found.content)
