"""Our own calls of a node, beside Flower's: few and fat, where Flower's are one for each object of a message.

`take` gives the next message with its small objects inside; `fetch` several of the others; `give` announces an answer, with
as many of its objects as one body holds, and confirms the message; `more` brings others, until none is lacking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from flwr.app import Message
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import UnexpectedObjectContentError
from flwr.supercore.object_store import NoObjectInStoreError
from google.protobuf.message import DecodeError

from fedmed.errors import ProtocolRefused
from fedmed.flower.bundles import bundle, unbundle
from fedmed.flower.calls import ANSWER, CHUNK, HEAD, RUN, SIZE
from fedmed.flower.parcels import head_of, ids_in
from fedmed.flower.refusals import BAD, TOO_LARGE, CallRefused, Node, refuse_other_senders
from fedmed.flower.superlink import SuperLink

GONE, UNANNOUNCED = 410, 409


@dataclass
class _Coming:
    """An answer that a node has announced and not sent whole yet; a node has one at a time."""

    answer: str
    names: frozenset[str]
    left: int
    """Bytes of those that it said it would send."""


class Hatch:
    """Serves them."""

    def __init__(self, link: SuperLink) -> None:
        self._link, self._objects = link, link.objects
        self._coming: dict[int, _Coming] = {}
        self._calls: dict[str, Callable[[list[tuple[str, bytes]], Node], bytes]] = {
            "take": self._take,
            "fetch": self._fetch,
            "give": self._give,
            "more": self._more,
        }

    def answer(self, call: str, body: bytes, node: Node) -> bytes:
        """Serve a call that a node's certificate came with. Raises CallRefused."""
        try:
            return self._calls[call](unbundle(body), node)
        except (ProtocolRefused, DecodeError, ValueError, LookupError, TypeError, UnexpectedObjectContentError) as error:
            raise CallRefused(BAD, f"{call}: {error}") from error
        except NoObjectInStoreError as error:
            raise CallRefused(GONE, f"{call}: the center waits for this no more") from error

    def _take(self, said: list[tuple[str, bytes]], node: Node) -> bytes:
        found = self._link.next_for(node.number)
        if found is None:
            return b""
        items, room = [(HEAD, bytes(found.SerializeToString()))], CHUNK
        for name in ids_in(found.message_object_trees[0]):
            content = self._objects.small(name)
            if content and len(content) <= room:
                items.append((name, content))
                room -= len(content)
        return bundle(items)

    def _fetch(self, said: list[tuple[str, bytes]], node: Node) -> bytes:
        (what, run), *others = said
        if what != RUN:
            raise ValueError("the number of a run has to come first")
        self._link.refuse_unless_running(int(run))
        wanted = [name for name, _ in others]
        if not set(wanted) <= self._link.names_out_to(node.number):
            raise CallRefused(GONE, "fetch: these are not of the message that the node was given, or it was taken back")
        found = list(self._some(wanted))
        if not found:
            raise CallRefused(GONE, "fetch: the center has taken the message back")
        return bundle(found)

    def _some(self, names: Iterable[str]) -> Iterable[tuple[str, bytes]]:
        """The first of these, as many as one body holds."""
        room = CHUNK
        for name in names:
            content = self._objects.get(name)
            if not content or (len(content) > room and room < CHUNK):
                return
            room -= len(content)
            yield name, content

    def _give(self, said: list[tuple[str, bytes]], node: Node) -> bytes:
        told = dict(said)
        head, tree = head_of(told.pop(HEAD))
        size, metadata = int(told.pop(SIZE)), head.metadata
        refuse_other_senders("give", metadata, tree, node)
        coming = _Coming(str(tree.object_id), frozenset(ids_in(tree)), size)
        reason = self._link.allowance_of(metadata.reply_to_message_id).reason_against(size, len(coming.names))
        if reason is not None:
            raise CallRefused(TOO_LARGE, reason)
        self._link.refuse_unless_running(metadata.run_id)
        if not self._is_kept(coming, head, tree, told):
            return b""
        self._coming[node.number] = coming
        self._link.answered(node.number, metadata.reply_to_message_id, head)
        return bundle((name, b"") for name in ids_in(tree) if not self._objects.is_there(name))

    def _is_kept(self, coming: _Coming, head: Message, tree: ObjectTree, objects: Mapping[str, bytes]) -> bool:
        is_wanted, is_new = False, coming.answer not in self._objects
        self._objects.preregister(head.metadata.run_id, tree)
        try:
            self._keep(coming, objects)
            is_wanted = self._is_wanted(head)
        finally:
            if is_new and not is_wanted:
                self._objects.delete(coming.answer)
        return is_wanted

    def _is_wanted(self, head: Message) -> bool:
        """Whether somebody asked for this answer; then its message is dealt with."""
        state, asked = self._link.state, head.metadata.reply_to_message_id
        with self._link.turn():
            if state.store_message_res(head) is None:
                return False
        self._objects.delete(asked)
        return True

    def _more(self, said: list[tuple[str, bytes]], node: Node) -> bytes:
        (what, answer), *objects = said
        coming = self._coming.get(node.number)
        if what != ANSWER or coming is None or coming.answer != answer.decode():
            raise CallRefused(UNANNOUNCED, "more: the answer has to be announced again, as after a start of the center")
        self._keep(coming, dict(objects))
        self._link.uploaded.set()
        return b""

    def _keep(self, coming: _Coming, objects: Mapping[str, bytes]) -> None:
        if not objects.keys() <= coming.names:
            raise ValueError("an object that the answer's tree does not name")
        coming.left -= sum(map(len, objects.values()))
        if coming.left < 0:
            raise CallRefused(TOO_LARGE, "more bytes than the answer was announced with")
        self._objects.put_all(objects)
